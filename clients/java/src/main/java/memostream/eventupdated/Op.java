package memostream.eventupdated;

import java.io.IOException;
import com.fasterxml.jackson.annotation.*;

/**
 * What happened: c created, u updated, d deleted, r read again (replayed or snapshot state).
 */
public enum Op {
    C, D, R, U;

    @JsonValue
    public String toValue() {
        switch (this) {
            case C: return "c";
            case D: return "d";
            case R: return "r";
            case U: return "u";
        }
        return null;
    }

    @JsonCreator
    public static Op forValue(String value) throws IOException {
        if (value.equals("c")) return C;
        if (value.equals("d")) return D;
        if (value.equals("r")) return R;
        if (value.equals("u")) return U;
        throw new IOException("Cannot deserialize Op");
    }
}
