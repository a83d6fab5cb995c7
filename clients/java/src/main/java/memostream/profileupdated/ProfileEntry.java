package memostream.profileupdated;

import com.fasterxml.jackson.annotation.*;
import java.time.OffsetDateTime;
import java.util.List;
import java.util.UUID;

/**
 * One entry of a profile; topic and sub-topic name its slot.
 */
public class ProfileEntry {
    private String content;
    private UUID id;
    private List<String> messageIDS;
    private OffsetDateTime occurredAt;
    private OffsetDateTime recordedAt;
    private String subTopic;
    private String topic;
    private long updateHits;

    /**
     * What is known, in the user's language.
     */
    @JsonProperty("content")
    public String getContent() { return content; }
    @JsonProperty("content")
    public void setContent(String value) { this.content = value; }

    /**
     * Id of the entry; it stays while the content changes.
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
     * Sub-topic, as in `company`; unique within the topic.
     */
    @JsonProperty("sub_topic")
    public String getSubTopic() { return subTopic; }
    @JsonProperty("sub_topic")
    public void setSubTopic(String value) { this.subTopic = value; }

    /**
     * Topic, as in `work`.
     */
    @JsonProperty("topic")
    public String getTopic() { return topic; }
    @JsonProperty("topic")
    public void setTopic(String value) { this.topic = value; }

    /**
     * How often the content has changed.
     */
    @JsonProperty("update_hits")
    public long getUpdateHits() { return updateHits; }
    @JsonProperty("update_hits")
    public void setUpdateHits(long value) { this.updateHits = value; }
}
