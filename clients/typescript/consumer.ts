// Subscribes to memostream's changes and prints each as a line of JSON, until it is told to stop (SIGTERM, Ctrl-C).

import { once } from "node:events";
import { env, stdout } from "node:process";
import {
  Consumer,
  FetchIsolationLevels,
  type Message,
  MessagesStreamFallbackModes,
  MessagesStreamModes,
  stringDeserializers,
} from "@platformatic/kafka";
import { Convert as EventConvert } from "./event-updated.ts";
import { Convert as ProfileConvert } from "./profile-updated.ts";
import { Convert as ProfilesConvert } from "./profiles.ts";

type ChangeRecord = Message<string, string, string, string>;

const BOOTSTRAP_SERVERS = env.MEMOSTREAM_KAFKA__BOOTSTRAP_SERVERS ?? "127.0.0.1:9092";
const TOPIC_PREFIX = env.MEMOSTREAM_KAFKA__TOPIC_PREFIX ?? "";
const GROUP = env.GROUP ?? "changes-typescript";
// The version that the types were generated from.
const KNOWN_VERSION = 1;
const COMMIT_INTERVAL_MS = 1000;
// A record is sent twice only when memostream was interrupted while it sent it, so its first copy is not far away.
const REMEMBERED_IDS = 10_000;

// Each checks the document against its schema's types, and throws where it differs. Keys it does not know it leaves alone.
const READERS: Record<string, (document: unknown) => unknown> = {
  [`${TOPIC_PREFIX}profile-updated`]: ProfileConvert.toProfileChanged,
  [`${TOPIC_PREFIX}event-updated`]: EventConvert.toEventChanged,
  [`${TOPIC_PREFIX}profiles`]: ProfilesConvert.toProfileState,
};

/** The typed value of a record; null for a tombstone, which says that the user was forgotten. */
function read(record: ChangeRecord): unknown {
  // Absent in a tombstone, whatever the client's types say.
  const text = record.value as string | undefined;
  if (text === undefined) return null;
  const document: { v?: number } = JSON.parse(text);
  if ((document.v ?? 1) > KNOWN_VERSION) {
    throw new Error(`version ${document.v} is newer than these types (${KNOWN_VERSION}): generate them again`);
  }
  return READERS[record.topic]!(document);
}

const seen = new Set<string>();

/** Whether the id comes for the first time. */
function isNew(id: string): boolean {
  if (seen.has(id)) return false;
  seen.add(id);
  if (seen.size > REMEMBERED_IDS) seen.delete(seen.values().next().value!);
  return true;
}

async function print(record: ChangeRecord): Promise<void> {
  const id = record.headers.get("ce_id")!;
  if (!isNew(id)) return;
  const line = JSON.stringify({ topic: record.topic, key: record.key, id, value: read(record) });
  if (!stdout.write(`${line}\n`)) await once(stdout, "drain");
}

const consumer = new Consumer({
  clientId: "changes-typescript",
  groupId: GROUP,
  bootstrapBrokers: BOOTSTRAP_SERVERS.split(","),
  deserializers: stringDeserializers,
});
const stream = await consumer.consume({
  topics: Object.keys(READERS),
  mode: MessagesStreamModes.COMMITTED,
  fallbackMode: MessagesStreamFallbackModes.EARLIEST,
  isolationLevel: FetchIsolationLevels.READ_COMMITTED,
  // By itself, this client would commit what it has fetched, not what has been printed.
  autocommit: false,
});

// The last printed record of each partition.
const printed = new Map<string, ChangeRecord>();

// One commit after the other: the last one must not overtake one that is under way.
let committed = Promise.resolve();

function commit(): Promise<void> {
  committed = committed.then(async () => {
    const records = [...printed.values()];
    printed.clear();
    for (const record of records) await record.commit();
  });
  return committed;
}

for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stream.close());
const committing = setInterval(() => commit().catch((error) => stream.destroy(error)), COMMIT_INTERVAL_MS);

try {
  for await (const record of stream) {
    try {
      await print(record);
    } catch (error) {
      throw new Error(`cannot read ${record.topic}-${record.partition}@${record.offset}`, { cause: error });
    }
    printed.set(`${record.topic}-${record.partition}`, record);
  }
} finally {
  clearInterval(committing);
  await commit();
  await consumer.close(true);
}
