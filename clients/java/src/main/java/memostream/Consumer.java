package memostream;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.datatype.jsr310.JavaTimeModule;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Subscribes to memostream's changes and prints each as a line of JSON, until it is told to stop (SIGTERM, Ctrl-C). */
public final class Consumer {
    private static final String BOOTSTRAP_SERVERS = variable("MEMOSTREAM_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:9092");
    private static final String TOPIC_PREFIX = variable("MEMOSTREAM_KAFKA__TOPIC_PREFIX", "");
    private static final String GROUP = variable("GROUP", "changes-java");
    /** The version that the types were generated from. */
    private static final int KNOWN_VERSION = 1;
    /** A record is sent twice only when memostream was interrupted while it sent it, so its first copy is not far away. */
    private static final int REMEMBERED_IDS = 10_000;
    private static final Duration POLL = Duration.ofSeconds(1);

    private static final List<String> TOPICS = List.of("profile-updated", "event-updated", "profiles");
    private static final ObjectMapper JSON = JsonMapper.builder()
            .addModule(new JavaTimeModule())
            .disable(SerializationFeature.WRITE_DATES_AS_TIMESTAMPS)
            .build();
    /** In UTF-8, whatever the terminal's locale. */
    private static final PrintStream OUT =
            new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);

    private final Set<String> seen = Collections.newSetFromMap(new LinkedHashMap<>() {
        @Override
        protected boolean removeEldestEntry(Map.Entry<String, Boolean> eldest) {
            return size() > REMEMBERED_IDS;
        }
    });

    public static void main(String[] arguments) throws IOException {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", BOOTSTRAP_SERVERS,
                "group.id", GROUP,
                "auto.offset.reset", "earliest",
                "isolation.level", "read_committed",
                // Committed by hand, after printing: nothing is skipped when this process ends early.
                "enable.auto.commit", false);
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            stopOnSignal(consumer);
            consumer.subscribe(TOPICS.stream().map(topic -> TOPIC_PREFIX + topic).toList());
            new Consumer().follow(consumer);
        } catch (WakeupException stopped) {
            OUT.flush();
        }
    }

    private void follow(KafkaConsumer<String, String> consumer) throws IOException {
        while (true) {
            for (var record : consumer.poll(POLL)) {
                print(record);
            }
            OUT.flush();
            consumer.commitSync();
        }
    }

    private void print(ConsumerRecord<String, String> record) throws IOException {
        String id = new String(record.headers().lastHeader("ce_id").value(), StandardCharsets.UTF_8);
        if (!seen.add(id)) {
            return;
        }
        ObjectNode line = JSON.createObjectNode();
        line.put("topic", record.topic()).put("key", record.key()).put("id", id);
        try {
            line.set("value", JSON.valueToTree(read(record)));
        } catch (IOException error) {
            String place = record.topic() + "-" + record.partition() + "@" + record.offset();
            throw new IOException("cannot read " + place, error);
        }
        OUT.println(JSON.writeValueAsString(line));
    }

    /** The typed value of a record; null for a tombstone, which says that the user was forgotten. */
    private static Object read(ConsumerRecord<String, String> record) throws IOException {
        if (record.value() == null) {
            return null;
        }
        JsonNode version = JSON.readTree(record.value()).path("v");
        if (version.asInt(1) > KNOWN_VERSION) {
            throw new IOException(
                    "version " + version + " is newer than these types (" + KNOWN_VERSION + "): generate them again");
        }
        // Keys that a type does not know are left out.
        return switch (record.topic().substring(TOPIC_PREFIX.length())) {
            case "profile-updated" -> memostream.profileupdated.Converter.fromJsonString(record.value());
            case "event-updated" -> memostream.eventupdated.Converter.fromJsonString(record.value());
            case "profiles" -> memostream.profiles.Converter.fromJsonString(record.value());
            default -> throw new IOException("not subscribed to " + record.topic());
        };
    }

    /** Ends the poll on SIGTERM and waits until the consumer has left its group. */
    private static void stopOnSignal(KafkaConsumer<String, String> consumer) {
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                main.join();
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
            }
        }));
    }

    private static String variable(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }
}
