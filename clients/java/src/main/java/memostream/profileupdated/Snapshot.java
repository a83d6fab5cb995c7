package memostream.profileupdated;

import java.io.IOException;
import com.fasterxml.jackson.annotation.*;

/**
 * As in Debezium: true for a record of a snapshot, last for its last one.
 */
public enum Snapshot {
    FALSE, LAST, TRUE;

    @JsonValue
    public String toValue() {
        switch (this) {
            case FALSE: return "false";
            case LAST: return "last";
            case TRUE: return "true";
        }
        return null;
    }

    @JsonCreator
    public static Snapshot forValue(String value) throws IOException {
        if (value.equals("false")) return FALSE;
        if (value.equals("last")) return LAST;
        if (value.equals("true")) return TRUE;
        throw new IOException("Cannot deserialize Snapshot");
    }
}
