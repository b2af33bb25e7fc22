import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.ReadOnlyWindowStore;
import org.apache.kafka.streams.state.WindowStore;

/**
 * W1 and W2 of the benchmarks in the DSL of Kafka Streams, as its documentation writes such a program: a window store with its
 * changelog, at least once. It ends when all records are in its windows, and writes what they hold.
 *
 * <p>Records are grouped by the key they have, the device: a group by anything else would send every record through a topic of
 * its own first. A device has one site, which the aggregate carries.
 */
public final class Bench {
  /** A reading, as far as the workloads need it. */
  record Reading(String site, String status, long ts, double temp, long seq) {}

  /** What is kept of a key and window. Both workloads use it, each its part. */
  static final class Cell {
    String site = "";
    long count;
    long seqs;
    double sum;
    double low = Double.POSITIVE_INFINITY;
    double high = Double.NEGATIVE_INFINITY;
    double highFahrenheit = Double.NEGATIVE_INFINITY;
    double sumFahrenheit;

    Cell add(Reading r, double temp) {
      double fahrenheit = temp * 9 / 5 + 32;
      site = r.site();
      count++;
      seqs += r.seq();
      sum += temp;
      low = Math.min(low, temp);
      high = Math.max(high, temp);
      highFahrenheit = Math.max(highFahrenheit, fahrenheit);
      sumFahrenheit += fahrenheit;
      return this;
    }

    void merge(Cell o) {
      count += o.count;
      seqs += o.seqs;
      highFahrenheit = Math.max(highFahrenheit, o.highFahrenheit);
      sumFahrenheit += o.sumFahrenheit;
    }
  }

  static final JsonFactory JSON = new JsonFactory();

  static Reading parse(byte[] value) {
    String site = null;
    String status = null;
    long ts = 0;
    long seq = 0;
    double temp = 0;
    try (JsonParser p = JSON.createParser(value)) {
      p.nextToken();
      while (p.nextToken() == JsonToken.FIELD_NAME) {
        String name = p.currentName();
        p.nextToken();
        switch (name) {
          case "site" -> site = p.getText();
          case "status" -> status = p.getText();
          case "ts" -> ts = p.getLongValue();
          case "seq" -> seq = p.getLongValue();
          case "temp" -> temp = p.getDoubleValue();
          default -> p.skipChildren();
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return new Reading(site, status, ts, temp, seq);
  }

  static <T> Serde<T> serde(Serializer<T> to, Deserializer<T> from) {
    return Serdes.serdeFrom(to, from);
  }

  static byte[] write(Cell c) {
    byte[] site = c.site.getBytes(StandardCharsets.UTF_8);
    ByteBuffer b = ByteBuffer.allocate(7 * 8 + site.length);
    b.putLong(c.count).putLong(c.seqs).putDouble(c.sum).putDouble(c.low).putDouble(c.high);
    return b.putDouble(c.highFahrenheit).putDouble(c.sumFahrenheit).put(site).array();
  }

  static Cell read(byte[] bytes) {
    ByteBuffer b = ByteBuffer.wrap(bytes);
    Cell c = new Cell();
    c.count = b.getLong();
    c.seqs = b.getLong();
    c.sum = b.getDouble();
    c.low = b.getDouble();
    c.high = b.getDouble();
    c.highFahrenheit = b.getDouble();
    c.sumFahrenheit = b.getDouble();
    c.site = new String(bytes, b.position(), b.remaining(), StandardCharsets.UTF_8);
    return c;
  }

  public static void main(String[] args) throws Exception {
    String workload = args[0];
    String name = args[3];
    long events = Long.parseLong(args[4]);
    Path dir = Path.of(args[6]);
    boolean sensors = workload.equals("sensors");

    Properties config = new Properties();
    config.put(StreamsConfig.APPLICATION_ID_CONFIG, name);
    config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[1]);
    config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, args[5]);
    config.put(StreamsConfig.STATE_DIR_CONFIG, dir.resolve("state").toString());
    config.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    config.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");

    Duration size = Duration.ofSeconds(sensors ? 10 : 60);
    // The watermark of the pipelines stays 2 s behind, and they wait for another minute.
    TimeWindows windows = TimeWindows.ofSizeAndGrace(size, Duration.ofSeconds(62));
    Serde<Reading> readings = serde((topic, r) -> { throw new IllegalStateException(); }, (topic, bytes) -> parse(bytes));
    Serde<Cell> cells = serde((topic, c) -> c == null ? null : write(c), (topic, bytes) -> bytes == null ? null : read(bytes));

    var store = Materialized.<String, Cell, WindowStore<Bytes, byte[]>>as("cells")
        .withKeySerde(Serdes.String()).withValueSerde(cells)
        .withRetention(Duration.ofDays(3650)); // the answer is read from it at the end
    boolean logged = makesTopics(args[1], name + "-probe");
    if (!logged) {
      System.err.println("the broker makes no topics for Kafka Streams: the windows have no changelog, and would not survive the loss of the disk");
    }

    StreamsBuilder builder = new StreamsBuilder();
    KStream<String, Reading> in = builder.stream(args[2],
        Consumed.with(Serdes.String(), readings).withTimestampExtractor((record, before) -> ((Reading) record.value()).ts()));
    KStream<String, Reading> kept = sensors
        ? in.filter((device, r) -> r.status().equals("ok") && r.temp() > -40)
        : in.filter((device, r) -> r.temp() > 30);
    kept.groupByKey(Grouped.with(Serdes.String(), readings))
        .windowedBy(windows)
        .aggregate(Cell::new, (device, r, cell) -> cell.add(r, sensors ? r.temp() + 0.4 : r.temp()),
            logged ? store : store.withLoggingDisabled());

    CountDownLatch failed = new CountDownLatch(1);
    try (KafkaStreams streams = new KafkaStreams(builder.build(), config)) {
      streams.setUncaughtExceptionHandler(e -> {
        e.printStackTrace();
        failed.countDown();
        return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
      });
      streams.start();
      while (processed(streams) < events) {
        if (failed.await(20, TimeUnit.MILLISECONDS)) {
          System.exit(1);
        }
      }
      ReadOnlyWindowStore<String, Cell> answer = streams.store(StoreQueryParameters.fromNameAndType("cells", QueryableStoreTypes.windowStore()));
      try (KeyValueIterator<Windowed<String>, Cell> all = answer.all();
          PrintWriter out = new PrintWriter(Files.newBufferedWriter(dir.resolve("answer.jsonl")))) {
        if (sensors) {
          while (all.hasNext()) {
            KeyValue<Windowed<String>, Cell> kv = all.next();
            Cell c = kv.value;
            out.printf(Locale.ROOT, "{\"start\":%d,\"keys\":[\"%s\",\"%s\"],\"values\":[%d,%s,%s,%s,%s]}%n",
                kv.key.window().start(), c.site, kv.key.key(), c.count, c.sum / c.count, c.low, c.high, c.highFahrenheit);
          }
        } else {
          TreeMap<Long, Cell> minutes = new TreeMap<>();
          while (all.hasNext()) {
            KeyValue<Windowed<String>, Cell> kv = all.next();
            minutes.computeIfAbsent(kv.key.window().start(), k -> new Cell()).merge(kv.value);
          }
          minutes.forEach((start, c) -> out.printf(Locale.ROOT, "{\"start\":%d,\"keys\":[],\"values\":[%d,%d,%s,%s]}%n",
              start, c.count, c.seqs, c.highFahrenheit, c.sumFahrenheit));
        }
        if (out.checkError()) {
          throw new IOException("write the answer");
        }
      }
    }
  }

  /**
   * Whether a broker makes topics for a client of Java, as Kafka Streams does for its changelogs. The one in weir's own binary makes
   * them, and then answers what that client does not understand.
   */
  static boolean makesTopics(String brokers, String topic) throws InterruptedException {
    Properties config = new Properties();
    config.put("bootstrap.servers", brokers);
    try (Admin admin = Admin.create(config)) {
      try {
        admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
        return true;
      } catch (ExecutionException e) {
        return false;
      } finally {
        admin.deleteTopics(List.of(topic));
      }
    }
  }

  /** How many records all threads have taken through the whole topology: the metric moves behind them. */
  static long processed(KafkaStreams streams) {
    double n = 0;
    for (var m : streams.metrics().entrySet()) {
      if (m.getKey().name().equals("process-total") && m.getKey().group().equals("stream-thread-metrics")) {
        n += (Double) m.getValue().metricValue();
      }
    }
    return (long) n;
  }
}
