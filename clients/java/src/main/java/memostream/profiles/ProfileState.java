package memostream.profiles;

import com.fasterxml.jackson.annotation.*;
import java.util.List;

/**
 * A user's whole current profile, on the compacted `profiles`. A null value (a tombstone)
 * means forgotten.
 */
public class ProfileState {
    private List<ProfileEntry> profile;
    private String projectID;
    private long revision;
    private long tsMS;
    private String userID;
    private Long v;

    /**
     * All entries, by topic and sub-topic.
     */
    @JsonProperty("profile")
    public List<ProfileEntry> getProfile() { return profile; }
    @JsonProperty("profile")
    public void setProfile(List<ProfileEntry> value) { this.profile = value; }

    /**
     * Project of the user.
     */
    @JsonProperty("project_id")
    public String getProjectID() { return projectID; }
    @JsonProperty("project_id")
    public void setProjectID(String value) { this.projectID = value; }

    /**
     * The user's revision; it only grows. A higher one is newer.
     */
    @JsonProperty("revision")
    public long getRevision() { return revision; }
    @JsonProperty("revision")
    public void setRevision(long value) { this.revision = value; }

    /**
     * When it was committed: Unix time in milliseconds.
     */
    @JsonProperty("ts_ms")
    public long getTsMS() { return tsMS; }
    @JsonProperty("ts_ms")
    public void setTsMS(long value) { this.tsMS = value; }

    /**
     * The user, as the producer named them.
     */
    @JsonProperty("user_id")
    public String getUserID() { return userID; }
    @JsonProperty("user_id")
    public void setUserID(String value) { this.userID = value; }

    /**
     * Version of the record's format.
     */
    @JsonProperty("v")
    public Long getV() { return v; }
    @JsonProperty("v")
    public void setV(Long value) { this.v = value; }
}
