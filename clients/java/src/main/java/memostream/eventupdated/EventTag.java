package memostream.eventupdated;

import com.fasterxml.jackson.annotation.*;

/**
 * A tag of an event, as in `emotion: proud`.
 */
public class EventTag {
    private String tag;
    private String value;

    /**
     * Name of the tag.
     */
    @JsonProperty("tag")
    public String getTag() { return tag; }
    @JsonProperty("tag")
    public void setTag(String value) { this.tag = value; }

    /**
     * Its value.
     */
    @JsonProperty("value")
    public String getValue() { return value; }
    @JsonProperty("value")
    public void setValue(String value) { this.value = value; }
}
