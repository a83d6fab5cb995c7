package memostream.eventupdated;

import com.fasterxml.jackson.annotation.*;
import java.time.OffsetDateTime;
import java.util.List;
import java.util.UUID;

/**
 * What happened in one stretch of conversation.
 */
public class Event {
    private List<EventGist> gists;
    private UUID id;
    private List<String> messageIDS;
    private OffsetDateTime occurredAt;
    private OffsetDateTime recordedAt;
    private String summary;
    private List<EventTag> tags;

    /**
     * What happened, line by line.
     */
    @JsonProperty("gists")
    public List<EventGist> getGists() { return gists; }
    @JsonProperty("gists")
    public void setGists(List<EventGist> value) { this.gists = value; }

    /**
     * Id of the event.
     */
    @JsonProperty("id")
    public UUID getID() { return id; }
    @JsonProperty("id")
    public void setID(UUID value) { this.id = value; }

    /**
     * Messages that it was taken from: `<blob id>/<index of the message in its blob>`.
     */
    @JsonProperty("message_ids")
    public List<String> getMessageIDS() { return messageIDS; }
    @JsonProperty("message_ids")
    public void setMessageIDS(List<String> value) { this.messageIDS = value; }

    /**
     * When it was said: RFC 3339, in UTC.
     */
    @JsonProperty("occurred_at")
    public OffsetDateTime getOccurredAt() { return occurredAt; }
    @JsonProperty("occurred_at")
    public void setOccurredAt(OffsetDateTime value) { this.occurredAt = value; }

    /**
     * When memory took it: RFC 3339, in UTC.
     */
    @JsonProperty("recorded_at")
    public OffsetDateTime getRecordedAt() { return recordedAt; }
    @JsonProperty("recorded_at")
    public void setRecordedAt(OffsetDateTime value) { this.recordedAt = value; }

    /**
     * Summary of the conversation; null where none was made.
     */
    @JsonProperty("summary")
    public String getSummary() { return summary; }
    @JsonProperty("summary")
    public void setSummary(String value) { this.summary = value; }

    /**
     * Tags, in the extractor's order.
     */
    @JsonProperty("tags")
    public List<EventTag> getTags() { return tags; }
    @JsonProperty("tags")
    public void setTags(List<EventTag> value) { this.tags = value; }
}
