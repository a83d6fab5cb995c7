// To parse this data:
//
//   import { Convert, ProfileState } from "./profiles";
//
//   const profileState = Convert.toProfileState(json);
//
// These functions will throw an error if the JSON doesn't
// match the expected interface, even if the JSON is valid.

/**
 * A user's whole current profile, on the compacted `profiles`. A null value (a tombstone)
 * means forgotten.
 */
export interface ProfileState {
    /**
     * All entries, by topic and sub-topic.
     */
    profile: ProfileEntry[];
    /**
     * Project of the user.
     */
    project_id: string;
    /**
     * The user's revision; it only grows. A higher one is newer.
     */
    revision: number;
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

// Converts JSON types to/from your types
// and asserts the results at runtime
export class Convert {
    public static toProfileState(json: unknown): ProfileState {
        return cast(json, r("ProfileState"));
    }

    public static profileStateToJson(value: ProfileState): unknown {
        return uncast(value, r("ProfileState"));
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
    "ProfileState": o([
        { json: "profile", js: "profile", typ: a(r("ProfileEntry")) },
        { json: "project_id", js: "project_id", typ: "" },
        { json: "revision", js: "revision", typ: 0 },
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
};
