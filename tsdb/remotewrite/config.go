package remotewrite

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"regexp"

	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/config"
	"go.yaml.in/yaml/v2"
)

// Defaults of queue_config. Prometheus's defaults are for servers with gigabytes of memory.
const (
	// defaultMaxShards limits connections and memory: a shard takes about 2 MB. Two shards send 40,000 samples a second
	// to an engine that answers in 100 ms. Prometheus's default is 50.
	defaultMaxShards = 2
	// defaultCapacity is the number of samples that a shard keeps in memory. A larger one is useless: unsent samples stay
	// in the write-ahead log.
	defaultCapacity = 4000
	// defaultBatchSendDeadline is the longest time that a sample waits for others. While the newest sample is older than 1.1
	// intervals, an engine's rate lacks up to half an interval of its window. With this deadline and poll, a sample of a 15 s
	// interval arrives within a tenth of the interval. Prometheus's default is 5 s.
	defaultBatchSendDeadline = "500ms"
)

// Config is a valid configuration. The zero value has no queues.
type Config struct{ queues []queueConfig }

// queueConfig is one entry.
type queueConfig struct {
	// id identifies the queue when its other settings change. It is its name, or its URL if it has none.
	id string
	// hash changes with every setting. A queue is restarted when its hash changes.
	hash  string
	index int
	// conf has only this entry and the external labels.
	conf *config.Config
}

// Parse reads entries of Prometheus's remote_write section, and external labels. These are added to each series that does
// not have them. File names in the entries are relative to dir. Errors name the entry and the field.
func Parse(entries []map[string]any, externalLabels map[string]string, dir string) (Config, error) {
	if _, err := load(nil, externalLabels); err != nil {
		return Config{}, fmt.Errorf("externalLabels: %w", err)
	}
	var all Config
	var documents []map[string]any
	ids := map[string]int{}
	for i, entry := range entries {
		document, err := withDefaults(entry)
		if err != nil {
			return Config{}, fmt.Errorf("remoteWrite[%d]: %w", i, err)
		}
		documents = append(documents, document)
		conf, err := load(documents[i:], externalLabels)
		if err != nil {
			return Config{}, fmt.Errorf("remoteWrite[%d]: %w", i, err)
		}
		written, err := yaml.Marshal([]any{document, externalLabels, dir})
		if err != nil {
			return Config{}, fmt.Errorf("remoteWrite[%d]: %w", i, err)
		}
		conf.SetDirectory(dir)
		q := queueConfig{id: "name " + conf.RemoteWriteConfigs[0].Name, hash: hash(written), index: i, conf: conf}
		if conf.RemoteWriteConfigs[0].Name == "" {
			q.id = "url " + conf.RemoteWriteConfigs[0].URL.String()
		}
		if ids[q.id]++; ids[q.id] > 1 {
			q.id = fmt.Sprintf("%s %d", q.id, ids[q.id])
		}
		for _, other := range all.queues {
			if other.hash == q.hash {
				return Config{}, fmt.Errorf("remoteWrite[%d]: it is the same as remoteWrite[%d]", i, other.index)
			}
		}
		all.queues = append(all.queues, q)
	}
	if _, err := load(documents, externalLabels); err != nil {
		return Config{}, fmt.Errorf("remoteWrite: %w", err)
	}
	return all, nil
}

// labelled returns the configuration that upstream's queue is made with: it labels metrics by the name and the URL.
// Parameters of a URL may be secrets, and queues that differ in secrets alone would have the same name.
func (c queueConfig) labelled() *config.Config {
	entry := *c.conf.RemoteWriteConfigs[0]
	if entry.Name == "" {
		entry.Name = c.hash[:6]
	}
	entry.URL = &commonconfig.URL{URL: &url.URL{Scheme: entry.URL.Scheme, Host: entry.URL.Host, Path: entry.URL.Path}}
	return &config.Config{GlobalConfig: c.conf.GlobalConfig, RemoteWriteConfigs: []*config.RemoteWriteConfig{&entry}}
}

// Len returns the number of queues.
func (c Config) Len() int { return len(c.queues) }

// Check returns an error if a file that an entry names, such as a certificate, is missing or invalid.
func (c Config) Check() error {
	for _, q := range c.queues {
		if _, err := newClient(q.conf.RemoteWriteConfigs[0]); err != nil {
			return fmt.Errorf("remoteWrite[%d]: %w", q.index, err)
		}
	}
	return nil
}

// withDefaults returns a copy of an entry with promlet's defaults in its queue_config.
func withDefaults(entry map[string]any) (map[string]any, error) {
	if entry == nil {
		return nil, errors.New("it is empty: give it a url")
	}
	given, ok := entry["queue_config"].(map[string]any)
	if !ok && entry["queue_config"] != nil {
		return entry, nil // upstream reports the error
	}
	queue := map[string]any{
		"max_shards":          defaultMaxShards,
		"capacity":            defaultCapacity,
		"batch_send_deadline": defaultBatchSendDeadline,
		// Prometheus drops the samples by default.
		"retry_on_http_429": true,
	}
	if shards, ok := given["min_shards"].(int64); ok {
		queue["max_shards"] = max(defaultMaxShards, shards)
	}
	maps.Copy(queue, given)
	entry = maps.Clone(entry)
	entry["queue_config"] = queue
	return entry, nil
}

// load reads and checks entries with upstream's code.
func load(entries []map[string]any, externalLabels map[string]string) (*config.Config, error) {
	written, err := yaml.Marshal(map[string]any{
		"global":       map[string]any{"external_labels": externalLabels},
		"remote_write": entries,
	})
	if err != nil {
		return nil, err
	}
	conf, err := config.Load(string(written), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, plain(err)
	}
	for _, entry := range conf.RemoteWriteConfigs {
		if err := checkTimes(entry.QueueConfig); err != nil {
			return nil, fmt.Errorf("queue_config: %w", err)
		}
		// A change of the number of shards drops their samples if the engine does not answer in time.
		entry.QueueConfig.MinShards = entry.QueueConfig.MaxShards
		// There is none to send, and upstream panics with a send_interval of 0.
		entry.MetadataConfig.Send = false
	}
	return conf, nil
}

// checkTimes returns an error for times with which upstream's queue would send or retry without a pause.
func checkTimes(queue config.QueueConfig) error {
	switch {
	case queue.BatchSendDeadline <= 0:
		return errors.New("batch_send_deadline must be positive, such as 5s")
	case queue.MinBackoff <= 0:
		return errors.New("min_backoff must be positive, such as 30ms")
	}
	return nil
}

// upstreamNoise matches the parts of YAML errors about the document that load writes and about upstream's types.
var upstreamNoise = regexp.MustCompile(`yaml: (unmarshal errors:\n\s*)?|line \d+: | in type [\w.]+`)

func plain(err error) error { return errors.New(upstreamNoise.ReplaceAllString(err.Error(), "")) }

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
