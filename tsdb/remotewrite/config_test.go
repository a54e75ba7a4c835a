package remotewrite

import (
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	t.Parallel()
	c, err := parse(t, `
externalLabels: {shard: "1"}
remoteWrite:
- url: https://user:secret@engine/api/v1/push?token=a
  basic_auth: {username: u, password_file: password}
  queue_config: {max_samples_per_send: 100, min_shards: 5}
- name: all
  url: https://engine/api/v1/push
  queue_config: {max_shards: 10, capacity: 20000, retry_on_http_429: false, batch_send_deadline: 1s}
  write_relabel_configs: [{source_labels: [__name__], regex: up, action: drop}]
`)
	require.NoError(t, err)
	require.Equal(t, 2, c.Len())
	first, second := c.queues[0].conf.RemoteWriteConfigs[0], c.queues[1].conf.RemoteWriteConfigs[0]
	require.Equal(t, 5, first.QueueConfig.MaxShards)
	require.Equal(t, defaultCapacity, first.QueueConfig.Capacity)
	require.True(t, first.QueueConfig.RetryOnRateLimit)
	require.Equal(t, model.Duration(500*time.Millisecond), first.QueueConfig.BatchSendDeadline)
	require.Equal(t, "/etc/promlet/password", first.HTTPClientConfig.BasicAuth.PasswordFile)
	require.Equal(t, "https://engine/api/v1/push", withoutSecrets(first.URL))
	require.Equal(t, 10, second.QueueConfig.MaxShards)
	require.Equal(t, 10, second.QueueConfig.MinShards, "their number stays")
	require.Equal(t, 20000, second.QueueConfig.Capacity)
	require.False(t, second.QueueConfig.RetryOnRateLimit)
	require.Equal(t, model.Duration(1e9), second.QueueConfig.BatchSendDeadline)
	require.Equal(t, "1", c.queues[1].conf.GlobalConfig.ExternalLabels.Get("shard"))
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	f := func(text, want string) {
		t.Helper()
		_, err := parse(t, "%s", text)
		require.EqualError(t, err, want)
	}
	f(`remoteWrite: [{}]`, `remoteWrite[0]: url for remote_write is empty`)
	f(`remoteWrite: [null]`, `remoteWrite[0]: it is empty: give it a url`)
	f(`remoteWrite: [{url: "http://a"}, {url: "http://b", urll: x}]`, `remoteWrite[1]: field urll not found`)
	f(`remoteWrite: [{url: "http://a", queue_config: {shards: 3}}]`, `remoteWrite[0]: field shards not found`)
	f(`remoteWrite: [{url: "http://a", queue_config: 3}]`, "remoteWrite[0]: cannot unmarshal !!int `3` into config.QueueConfig")
	f(`remoteWrite: [{url: "http://a", queue_config: {batch_send_deadline: 0s}}]`, "remoteWrite[0]: queue_config: batch_send_deadline must be positive, such as 5s")
	f(`remoteWrite: [{url: "http://a", queue_config: {min_backoff: 0s}}]`, "remoteWrite[0]: queue_config: min_backoff must be positive, such as 30ms")
	f(`remoteWrite: [{url: "http://a", remote_timeout: soon}]`, `remoteWrite[0]: not a valid duration string: "soon"`)
	f(`remoteWrite: [{url: "http://a", basic_auth: {username: x}, authorization: {credentials: y}}]`, `remoteWrite[0]: at most one of basic_auth, oauth2 & authorization must be configured`)
	f(`remoteWrite: [{url: "http://a", headers: {authorization: x}}]`, `remoteWrite[0]: authorization header must be changed via the basic_auth, authorization, oauth2, sigv4, azuread or google_iam parameter`)
	f(`remoteWrite: [{name: a, url: "http://a"}, {name: a, url: "http://b"}]`, `remoteWrite: found multiple remote write configs with job name "a"`)
	f(`remoteWrite: [{url: "http://a"}, {url: "http://a"}]`, `remoteWrite[1]: it is the same as remoteWrite[0]`)
	f(`externalLabels: {"": x}`, `externalLabels: "" is not a valid label name`)
}
