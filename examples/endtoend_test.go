package examples_test

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/edge-node/pipeline"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// Every example, from the broker to a query in ClickHouse, must answer what the truth does.
func TestEndToEnd(t *testing.T) {
	t.Run("sensors", func(t *testing.T) {
		cfg := workload.SensorsConfig{Seed: 11, Events: 60_000, Devices: 200, NumPartitions: 4}.DefaultMix()
		cfg.LateRate, cfg.BrokenRate = 0.02, 0.01
		gen, err := workload.Sensors(cfg)
		if err != nil {
			t.Fatal(err)
		}
		truth, err := workload.NewSensorsTruth(workload.SensorsTruthConfig{})
		if err != nil {
			t.Fatal(err)
		}
		endToEnd(t, "sensors", gen, truth)
	})
	t.Run("ticks", func(t *testing.T) {
		gen, err := workload.Ticks(workload.TicksConfig{Seed: 11, Events: 30_000})
		if err != nil {
			t.Fatal(err)
		}
		truth, err := workload.NewTicksTruth(workload.Rules{})
		if err != nil {
			t.Fatal(err)
		}
		endToEnd(t, "ticks", gen, truth)
	})
	t.Run("weather", func(t *testing.T) {
		data, err := os.ReadFile("weather/seattle-weather-hourly-normals.csv")
		if err != nil {
			t.Fatal(err)
		}
		gen, err := workload.Weather(strings.NewReader(string(data)), workload.WeatherConfig{NumPartitions: 3})
		if err != nil {
			t.Fatal(err)
		}
		truth, err := workload.NewWeatherTruth(workload.Rules{})
		if err != nil {
			t.Fatal(err)
		}
		conn, answer := endToEnd(t, "weather", gen, truth)
		raw := rawWeather(t, conn, string(data))
		if d := workload.Diff(truth.Columns(), raw, answer, 5); !d.Exact() || d.Compared != 365 {
			t.Errorf("against ClickHouse's own GROUP BY over the raw rows: %v", d)
		}
	})
}

// endToEnd produces, runs the example until it has read everything, and compares what ClickHouse says.
func endToEnd(t *testing.T, name string, gen workload.Generator, truth *workload.Truth) (driver.Conn, []workload.Row) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	dsn := embeddedtest.ClickHouse(t)
	brokers, prefix := embeddedtest.Kafka(t)
	if _, err := workload.Produce(ctx, brokers, prefix+name, gen, workload.ProduceOptions{Observe: truth.Add}); err != nil {
		t.Fatal(err)
	}

	path := name + "/pipeline.yaml"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"KAFKA_BROKERS": strings.Join(brokers, ","), "WEIR_CLICKHOUSE": dsn}
	spec, err := config.ParseEnv(path, text, config.Env{Lookup: func(k string) (string, bool) { v, ok := env[k]; return v, ok }})
	if err != nil {
		t.Fatal(err)
	}
	spec.Source.Kafka.Topics[0].Name = prefix + name
	spec.Source.Kafka.Group = prefix + name
	run(ctx, t, spec)

	opts, err := clickhouse.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := clickhouse.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := truth.Columns()
	sql := "SELECT toUnixTimestamp64Milli(toDateTime64(window_start, 3)), " + strings.Join(c.Keys, ", ")
	for _, v := range c.Values {
		sql += ", toFloat64(" + v.Name + ")"
	}
	answer := query(t, conn, c, sql+" FROM "+spec.Sink.ClickHouse.Table)
	if d := workload.Diff(c, truth.Windows(), answer, 5); !d.Exact() || d.Compared == 0 {
		t.Error(d)
	}
	return conn, answer
}

func run(ctx context.Context, t *testing.T, spec *config.Pipeline) {
	t.Helper()
	plan, err := pipeline.New(ctx, spec, config.DefaultNode(), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	runner, err := plan.Open(ctx, pipeline.RunOptions{StopAtEnd: true, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := runner.Run(ctx); err != nil {
		t.Error(err)
	}
	if err := runner.Close(); err != nil {
		t.Error(err)
	}
	if err := plan.Close(); err != nil {
		t.Error(err)
	}
	if ctx.Err() != nil {
		t.Fatal("the pipeline has not come to the end in time")
	}
}

func query(t *testing.T, conn driver.Conn, c workload.Columns, sql string) []workload.Row {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	defer func() { _ = rows.Close() }()
	out, err := workload.ReadRows(rows, c)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return out
}

// rawWeather puts the file's rows into a table as they are and has ClickHouse group them.
func rawWeather(t *testing.T, conn driver.Conn, data string) []workload.Row {
	t.Helper()
	ctx := t.Context()
	if err := conn.Exec(ctx, `CREATE TABLE raw (date DateTime64(3, 'UTC'), pressure Float64, temperature Float64, wind Float64) ENGINE = Memory`); err != nil {
		t.Fatal(err)
	}
	rows, err := conn.PrepareBatch(ctx, "INSERT INTO raw")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(data), "\n")[1:] {
		fields := strings.Split(line, ",")
		date, err := time.Parse("2006-01-02T15:04:05", fields[0])
		if err != nil {
			t.Fatal(err)
		}
		row := []any{date}
		for _, f := range fields[1:] {
			n, err := strconv.ParseFloat(f, 64)
			if err != nil {
				t.Fatal(err)
			}
			row = append(row, n)
		}
		if err := rows.Append(row...); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Send(); err != nil {
		t.Fatal(err)
	}
	truth, err := workload.NewWeatherTruth(workload.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	return query(t, conn, truth.Columns(), `SELECT toUnixTimestamp64Milli(toDateTime64(toStartOfDay(date), 3, 'UTC')) AS day, 'seattle',
		toFloat64(count()), avg(temperature), min(temperature), max(temperature), avg(pressure), max(wind)
		FROM raw GROUP BY day ORDER BY day`)
}
