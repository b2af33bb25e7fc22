// Package kafka is the embedded broker: franz-go's kfake, which speaks the Kafka protocol, with its data kept on disk.
//
// It owns the data folder and the brokers' listeners. edge-node/cli runs it as `weir embedded kafka`, a process of its own,
// for the demo and for tests. It promises what kfake promises: topics, consumer groups of both protocols, idempotent and
// transactional producers, retention. It has one copy of the data, listens on loopback only, and is not for production.
package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Config says how to run the brokers. The zero value of every field but Dir is a usable default.
type Config struct {
	// Dir is the folder topics, records and group offsets are kept in; it is made when absent. One process at a time may
	// use it.
	Dir string
	// Ports are the loopback ports of the brokers, one each; 0 is a free port. Default: Brokers free ports.
	Ports []int
	// Brokers is how many brokers there are when Ports is empty; default 1.
	Brokers int
	// Partitions is what a topic gets that is created without a number; default 8.
	Partitions int
	// AutoCreate lets clients create a topic by asking for it, as kafka's auto.create.topics.enable does.
	AutoCreate bool
	// SyncWrites makes every produced batch durable before it is acknowledged, at about half the speed. Without it a
	// power cut can lose the newest batches; a killed process loses none.
	SyncWrites bool
	// BrokerConfigs are dynamic broker settings such as group.consumer.session.timeout.ms.
	BrokerConfigs map[string]string
	// Ready receives one line of JSON, see ReadyLine, when the brokers accept; default os.Stdout.
	Ready io.Writer `json:"-"`
	// Log receives the broker's warnings; default os.Stderr.
	Log io.Writer `json:"-"`
}

func (c *Config) setDefaults() {
	if c.Brokers == 0 {
		c.Brokers = 1
	}
	if len(c.Ports) == 0 && c.Brokers > 0 {
		c.Ports = make([]int, min(c.Brokers, maxBrokers))
	}
	if c.Partitions == 0 {
		c.Partitions = 8
	}
	if c.Ready == nil {
		c.Ready = os.Stdout
	}
	if c.Log == nil {
		c.Log = os.Stderr
	}
}

const maxBrokers = 16

// Validate reports what is wrong with the configuration.
func (c Config) Validate() error {
	if c.Brokers < 0 || c.Brokers > maxBrokers || len(c.Ports) > maxBrokers {
		return fmt.Errorf("embedded kafka: between 1 and %d brokers can be run", maxBrokers)
	}
	c.setDefaults()
	if c.Dir == "" {
		return errors.New("embedded kafka: no data folder given")
	}
	if c.Partitions < 1 || c.Partitions > 10_000 {
		return fmt.Errorf("embedded kafka: %d partitions a topic is not between 1 and 10000", c.Partitions)
	}
	for i, p := range c.Ports {
		if p < 0 || p > 65535 {
			return fmt.Errorf("embedded kafka: %d is no port", p)
		}
		for _, q := range c.Ports[:i] {
			if p == q && p != 0 {
				return fmt.Errorf("embedded kafka: port %d is given twice", p)
			}
		}
	}
	return nil
}

// ReadyLine is the one line Run writes to Config.Ready.
type ReadyLine struct {
	Service string   `json:"service"` // "kafka"
	PID     int      `json:"pid"`     // of the broker process
	Brokers []string `json:"brokers"` // host:port of each, for bootstrapping
}

// Broker is a running or stoppable set of embedded brokers.
type Broker struct {
	cfg     Config
	cluster *kfake.Cluster
	unlock  func()
}

// New opens the data folder and starts the brokers: they serve from here on. Run waits, Close stops.
func New(cfg Config) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	data := filepath.Join(cfg.Dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, fmt.Errorf("make the broker's data folder: %w", err)
	}
	unlock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	opts := []kfake.Opt{
		kfake.DataDir(data),
		kfake.Ports(cfg.Ports...),
		kfake.DefaultNumPartitions(cfg.Partitions),
		kfake.ClusterID("weir-embedded"),
		kfake.WithLogger(kfake.BasicLogger(cfg.Log, kfake.LogLevelWarn)),
	}
	if cfg.AutoCreate {
		opts = append(opts, kfake.AllowAutoTopicCreation())
	}
	if cfg.SyncWrites {
		opts = append(opts, kfake.SyncWrites())
	}
	if len(cfg.BrokerConfigs) > 0 {
		opts = append(opts, kfake.BrokerConfigs(cfg.BrokerConfigs))
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		unlock()
		return nil, fmt.Errorf("start the embedded broker on %s: %w", data, err)
	}
	return &Broker{cfg: cfg, cluster: cluster, unlock: unlock}, nil
}

// Addrs are the brokers' addresses.
func (b *Broker) Addrs() []string { return b.cluster.ListenAddrs() }

// Run announces the brokers and waits for ctx to end, then stops them and writes everything to disk.
func (b *Broker) Run(ctx context.Context) error {
	defer b.Close()
	line, err := json.Marshal(ReadyLine{Service: "kafka", PID: os.Getpid(), Brokers: b.Addrs()})
	if err == nil {
		_, err = b.cfg.Ready.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write the ready line: %w", err)
	}
	<-ctx.Done()
	return nil
}

// Close stops the brokers and writes everything to disk. It may be called twice.
func (b *Broker) Close() {
	b.cluster.Close()
	if b.unlock != nil {
		b.unlock()
		b.unlock = nil
	}
}
