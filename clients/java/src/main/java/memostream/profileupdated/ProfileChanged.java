package memostream.profileupdated;

import com.fasterxml.jackson.annotation.*;

/**
 * A change of one profile entry, on `profile-updated`; shaped as Debezium's.
 */
public class ProfileChanged {
    private ProfileEntry after;
    private ProfileEntry before;
    private Op op;
    private String projectID;
    private long revision;
    private ChangeSource source;
    private long tsMS;
    private String userID;
    private Long v;

    /**
     * As it is now; null for d.
     */
    @JsonProperty("after")
    public ProfileEntry getAfter() { return after; }
    @JsonProperty("after")
    public void setAfter(ProfileEntry value) { this.after = value; }

    /**
     * As it was before; null for c.
     */
    @JsonProperty("before")
    public ProfileEntry getBefore() { return before; }
    @JsonProperty("before")
    public void setBefore(ProfileEntry value) { this.before = value; }

    /**
     * What happened: c created, u updated, d deleted, r read again (replayed or snapshot state).
     */
    @JsonProperty("op")
    public Op getOp() { return op; }
    @JsonProperty("op")
    public void setOp(Op value) { this.op = value; }

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

    @JsonProperty("source")
    public ChangeSource getSource() { return source; }
    @JsonProperty("source")
    public void setSource(ChangeSource value) { this.source = value; }

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
