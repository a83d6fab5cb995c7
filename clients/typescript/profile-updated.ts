// To parse this data:
//
//   import { Convert, ProfileChanged } from "./profile-updated";
//
//   const profileChanged = Convert.toProfileChanged(json);
//
// These functions will throw an error if the JSON doesn't
// match the expected interface, even if the JSON is valid.

/**
 * A change of one profile entry, on `profile-updated`; shaped as Debezium's.
 */
export interface ProfileChanged {
    /**
     * As it is now; null for d.
     */
    after: null | ProfileEntry;
    /**
     * As it was before; null for c.
     */
    before: null | ProfileEntry;
    /**
     * What happened: c created, u updated, d deleted, r read again (replayed or snapshot state).
     */
    op: Op;
    /**
     * Project of the user.
     */
    project_id: string;
    /**
     * The user's revision; it only grows. A higher one is newer.
     */
    revision: number;
    source:   ChangeSource;
    /**
     * When it was committed: Unix time in milliseconds.
     */
    ts_ms: number;
    /**
     * The user, as the producer named them.
     */
    user_id: string;
    /**
     * Version of the record's format.
     */
    v?: number;
    [property: string]: unknown;
}

/**
 * One entry of a profile; topic and sub-topic name its slot.
 */
export interface ProfileEntry {
    /**
     * What is known, in the user's language.
     */
    content: string;
    /**
     * Id of the entry; it stays while the content changes.
     */
    id: string;
    /**
     * Messages that it was taken from: `<blob id>/<index of the message in its blob>`.
     */
    message_ids: string[];
    /**
     * When it was said: RFC 3339, in UTC.
     */
    occurred_at: Date;
    /**
     * When memory took it: RFC 3339, in UTC.
     */
    recorded_at: Date;
    /**
     * Sub-topic, as in `company`; unique within the topic.
     */
    sub_topic: string;
    /**
     * Topic, as in `work`.
     */
    topic: string;
    /**
     * How often the content has changed.
     */
    update_hits: number;
    [property: string]: unknown;
}

/**
 * What happened: c created, u updated, d deleted, r read again (replayed or snapshot state).
 */
export type Op = "c" | "u" | "d" | "r";

/**
 * Where a change came from. The offsets span the records that were extracted together, on
 * one partition.
 */
export interface ChangeSource {
    /**
     * Who made it; null where no extractor did.
     */
    extractor: null | Extractor;
    /**
     * Messages that it was taken from: `<blob id>/<index of the message in its blob>`.
     */
    message_ids: string[];
    /**
     * Offset of the first record.
     */
    offset_from: number | null;
    /**
     * Offset of the last record.
     */
    offset_to: number | null;
    /**
     * Partition of the records.
     */
    partition: number | null;
    /**
     * As in Debezium: true for a record of a snapshot, last for its last one.
     */
    snapshot: Snapshot;
    /**
     * Topic of the records; null where no record caused the change.
     */
    topic: null | string;
    /**
     * Windows that were extracted together.
     */
    window_ids: string[];
    [property: string]: unknown;
}

/**
 * Who turned messages into memory.
 */
export interface Extractor {
    /**
     * Model that was asked.
     */
    model: string;
    /**
     * Provider: `offline` or `openai`.
     */
    name: string;
    /**
     * Hash of the prompts; another one means other prompts.
     */
    prompt_hash: string;
    /**
     * Version of the extraction's rules and steps.
     */
    version: string;
    [property: string]: unknown;
}

/**
 * As in Debezium: true for a record of a snapshot, last for its last one.
 */
export type Snapshot = "false" | "true" | "last";

// Converts JSON types to/from your types
// and asserts the results at runtime
export class Convert {
    public static toProfileChanged(json: unknown): ProfileChanged {
        return cast(json, r("ProfileChanged"));
    }

    public static profileChangedToJson(value: ProfileChanged): unknown {
        return uncast(value, r("ProfileChanged"));
    }
}

function invalidValue(typ: any, val: any, key: any, parent: any = ''): never {
    const prettyTyp = prettyTypeName(typ);
    const parentText = parent ? ` on ${parent}` : '';
    const keyText = key ? ` for key "${key}"` : '';
    throw Error(`Invalid value${keyText}${parentText}. Expected ${prettyTyp} but got ${JSON.stringify(val)}`);
}

function prettyTypeName(typ: any): string {
    if (Array.isArray(typ)) {
        if (typ.length === 2 && typ[0] === undefined) {
            return `an optional ${prettyTypeName(typ[1])}`;
        } else {
            return `one of [${typ.map(a => { return prettyTypeName(a); }).join(", ")}]`;
        }
    } else if (typeof typ === "object" && typ.literal !== undefined) {
        return typ.literal;
    } else {
        return typeof typ;
    }
}

function jsonToJSProps(typ: any): any {
    if (typ.jsonToJS === undefined) {
        const map: any = {};
        typ.props.forEach((p: any) => map[p.json] = { key: p.js, typ: p.typ });
        typ.jsonToJS = map;
    }
    return typ.jsonToJS;
}

function jsToJSONProps(typ: any): any {
    if (typ.jsToJSON === undefined) {
        const map: any = {};
        typ.props.forEach((p: any) => map[p.js] = { key: p.json, typ: p.typ });
        typ.jsToJSON = map;
    }
    return typ.jsToJSON;
}

function transform(val: any, typ: any, getProps: any, key: any = '', parent: any = ''): any {
    function transformPrimitive(typ: string, val: any): any {
        if (typeof typ === typeof val) return val;
        return invalidValue(typ, val, key, parent);
    }

    function transformUnion(typs: any[], val: any): any {
        // val must validate against one typ in typs
        const l = typs.length;
        for (let i = 0; i < l; i++) {
            const typ = typs[i];
            try {
                return transform(val, typ, getProps);
            } catch (_) {}
        }
        return invalidValue(typs, val, key, parent);
    }

    function transformEnum(cases: string[], val: any): any {
        if (cases.indexOf(val) !== -1) return val;
        return invalidValue(cases.map(a => { return l(a); }), val, key, parent);
    }

    function transformArray(typ: any, val: any): any {
        // val must be an array with no invalid elements
        if (!Array.isArray(val)) return invalidValue(l("array"), val, key, parent);
        return val.map(el => transform(el, typ, getProps));
    }

    function transformDate(val: any): any {
        if (val === null) {
            return null;
        }
        const d = new Date(val);
        if (isNaN(d.valueOf())) {
            return invalidValue(l("Date"), val, key, parent);
        }
        return d;
    }

    function transformObject(props: { [k: string]: any }, additional: any, val: any): any {
        if (val === null || typeof val !== "object" || Array.isArray(val)) {
            return invalidValue(l(ref || "object"), val, key, parent);
        }
        const result: any = {};
        Object.getOwnPropertyNames(props).forEach(key => {
            const prop = props[key];
            const v = Object.prototype.hasOwnProperty.call(val, key) ? val[key] : undefined;
            result[prop.key] = transform(v, prop.typ, getProps, key, ref);
        });
        Object.getOwnPropertyNames(val).forEach(key => {
            if (!Object.prototype.hasOwnProperty.call(props, key)) {
                result[key] = transform(val[key], additional, getProps, key, ref);
            }
        });
        return result;
    }

    if (typ === "any") return val;
    if (typ === null) {
        if (val === null) return val;
        return invalidValue(typ, val, key, parent);
    }
    if (typ === false) return invalidValue(typ, val, key, parent);
    let ref: any = undefined;
    while (typeof typ === "object" && typ.ref !== undefined) {
        ref = typ.ref;
        typ = typeMap[typ.ref];
    }
    if (Array.isArray(typ)) return transformEnum(typ, val);
    if (typeof typ === "object") {
        return typ.hasOwnProperty("unionMembers") ? transformUnion(typ.unionMembers, val)
            : typ.hasOwnProperty("arrayItems")    ? transformArray(typ.arrayItems, val)
            : typ.hasOwnProperty("props")         ? transformObject(getProps(typ), typ.additional, val)
            : invalidValue(typ, val, key, parent);
    }
    // Numbers can be parsed by Date but shouldn't be.
    if (typ === Date && typeof val !== "number") return transformDate(val);
    return transformPrimitive(typ, val);
}

function cast<T>(val: any, typ: any): T {
    return transform(val, typ, jsonToJSProps);
}

function uncast<T>(val: T, typ: any): any {
    return transform(val, typ, jsToJSONProps);
}

function l(typ: any) {
    return { literal: typ };
}

function a(typ: any) {
    return { arrayItems: typ };
}

function u(...typs: any[]) {
    return { unionMembers: typs };
}

function o(props: any[], additional: any) {
    return { props, additional };
}

function m(additional: any) {
    return { props: [], additional };
}

function r(name: string) {
    return { ref: name };
}

const typeMap: any = {
    "ProfileChanged": o([
        { json: "after", js: "after", typ: u(null, r("ProfileEntry")) },
        { json: "before", js: "before", typ: u(null, r("ProfileEntry")) },
        { json: "op", js: "op", typ: r("Op") },
        { json: "project_id", js: "project_id", typ: "" },
        { json: "revision", js: "revision", typ: 0 },
        { json: "source", js: "source", typ: r("ChangeSource") },
        { json: "ts_ms", js: "ts_ms", typ: 0 },
        { json: "user_id", js: "user_id", typ: "" },
        { json: "v", js: "v", typ: u(undefined, 0) },
    ], "any"),
    "ProfileEntry": o([
        { json: "content", js: "content", typ: "" },
        { json: "id", js: "id", typ: "" },
        { json: "message_ids", js: "message_ids", typ: a("") },
        { json: "occurred_at", js: "occurred_at", typ: Date },
        { json: "recorded_at", js: "recorded_at", typ: Date },
        { json: "sub_topic", js: "sub_topic", typ: "" },
        { json: "topic", js: "topic", typ: "" },
        { json: "update_hits", js: "update_hits", typ: 0 },
    ], "any"),
    "ChangeSource": o([
        { json: "extractor", js: "extractor", typ: u(null, r("Extractor")) },
        { json: "message_ids", js: "message_ids", typ: a("") },
        { json: "offset_from", js: "offset_from", typ: u(0, null) },
        { json: "offset_to", js: "offset_to", typ: u(0, null) },
        { json: "partition", js: "partition", typ: u(0, null) },
        { json: "snapshot", js: "snapshot", typ: r("Snapshot") },
        { json: "topic", js: "topic", typ: u(null, "") },
        { json: "window_ids", js: "window_ids", typ: a("") },
    ], "any"),
    "Extractor": o([
        { json: "model", js: "model", typ: "" },
        { json: "name", js: "name", typ: "" },
        { json: "prompt_hash", js: "prompt_hash", typ: "" },
        { json: "version", js: "version", typ: "" },
    ], "any"),
    "Op": [
        "c",
        "d",
        "r",
        "u",
    ],
    "Snapshot": [
        "false",
        "last",
        "true",
    ],
};
