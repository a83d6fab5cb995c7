package memostream.profileupdated;

import com.fasterxml.jackson.annotation.*;
import java.util.List;
import java.util.UUID;

/**
 * Where a change came from. The offsets span the records that were extracted together, on
 * one partition.
 */
public class ChangeSource {
    private Extractor extractor;
    private List<String> messageIDS;
    private Long offsetFrom;
    private Long offsetTo;
    private Long partition;
    private Snapshot snapshot;
    private String topic;
    private List<UUID> windowIDS;

    /**
     * Who made it; null where no extractor did.
     */
    @JsonProperty("extractor")
    public Extractor getExtractor() { return extractor; }
    @JsonProperty("extractor")
    public void setExtractor(Extractor value) { this.extractor = value; }

    /**
     * Messages that it was taken from: `<blob id>/<index of the message in its blob>`.
     */
    @JsonProperty("message_ids")
    public List<String> getMessageIDS() { return messageIDS; }
    @JsonProperty("message_ids")
    public void setMessageIDS(List<String> value) { this.messageIDS = value; }

    /**
     * Offset of the first record.
     */
    @JsonProperty("offset_from")
    public Long getOffsetFrom() { return offsetFrom; }
    @JsonProperty("offset_from")
    public void setOffsetFrom(Long value) { this.offsetFrom = value; }

    /**
     * Offset of the last record.
     */
    @JsonProperty("offset_to")
    public Long getOffsetTo() { return offsetTo; }
    @JsonProperty("offset_to")
    public void setOffsetTo(Long value) { this.offsetTo = value; }

    /**
     * Partition of the records.
     */
    @JsonProperty("partition")
    public Long getPartition() { return partition; }
    @JsonProperty("partition")
    public void setPartition(Long value) { this.partition = value; }

    /**
     * As in Debezium: true for a record of a snapshot, last for its last one.
     */
    @JsonProperty("snapshot")
    public Snapshot getSnapshot() { return snapshot; }
    @JsonProperty("snapshot")
    public void setSnapshot(Snapshot value) { this.snapshot = value; }

    /**
     * Topic of the records; null where no record caused the change.
     */
    @JsonProperty("topic")
    public String getTopic() { return topic; }
    @JsonProperty("topic")
    public void setTopic(String value) { this.topic = value; }

    /**
     * Windows that were extracted together.
     */
    @JsonProperty("window_ids")
    public List<UUID> getWindowIDS() { return windowIDS; }
    @JsonProperty("window_ids")
    public void setWindowIDS(List<UUID> value) { this.windowIDS = value; }
}
