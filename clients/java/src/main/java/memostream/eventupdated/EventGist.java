package memostream.eventupdated;

import com.fasterxml.jackson.annotation.*;
import java.time.OffsetDateTime;
import java.util.List;

/**
 * One line of an event.
 */
public class EventGist {
    private List<String> messageIDS;
    private OffsetDateTime occurredAt;
    private String text;

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
     * The line.
     */
    @JsonProperty("text")
    public String getText() { return text; }
    @JsonProperty("text")
    public void setText(String value) { this.text = value; }
}
