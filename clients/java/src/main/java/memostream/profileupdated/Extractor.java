package memostream.profileupdated;

import com.fasterxml.jackson.annotation.*;

/**
 * Who turned messages into memory.
 */
public class Extractor {
    private String model;
    private String name;
    private String promptHash;
    private String version;

    /**
     * Model that was asked.
     */
    @JsonProperty("model")
    public String getModel() { return model; }
    @JsonProperty("model")
    public void setModel(String value) { this.model = value; }

    /**
     * Provider: `offline` or `openai`.
     */
    @JsonProperty("name")
    public String getName() { return name; }
    @JsonProperty("name")
    public void setName(String value) { this.name = value; }

    /**
     * Hash of the prompts; another one means other prompts.
     */
    @JsonProperty("prompt_hash")
    public String getPromptHash() { return promptHash; }
    @JsonProperty("prompt_hash")
    public void setPromptHash(String value) { this.promptHash = value; }

    /**
     * Version of the extraction's rules and steps.
     */
    @JsonProperty("version")
    public String getVersion() { return version; }
    @JsonProperty("version")
    public void setVersion(String value) { this.version = value; }
}
