package attacks

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Templates that never end, or double what they hold, are rejected by check and by a running promlet, whose
// configuration stays.
func TestTemplates(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "promlet.yaml")
	rule := func(query string) string {
		return "rules:\n- seriesQuery: queue_depth\n  name: {as: waiting}\n  resources: {template: <<.Resource>>}\n  metricsQuery: '" + query + "'\n"
	}
	write := func(text string) {
		require.NoError(t, os.WriteFile(config+".new", []byte(text), 0o600))
		require.NoError(t, os.Rename(config+".new", config))
	}
	const sum = "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)"
	defaults := "- seriesQuery: '{__name__=~\"http_requests_total|queue_depth\"}'\n  resources: {template: <<.Resource>>}\n  name: {matches: \"^(.*?)(_total)?$\", as: $1}\n  metricsQuery: '<<if eq .Series \"queue_depth\">>" + sum + "<<else>>sum(rate(<<.Series>>{<<.LabelMatchers>>}[30s])) by (<<.GroupBy>>)<<end>>'\n"
	good := rule(sum) + defaults
	write(good)
	s := start(t, "--config", config)
	s.eventually("shop/services/app/waiting", equal(shopPods*podDepth))

	for name, bad := range map[string]string{
		"a loop":               rule("<<range 2000000000>>x<<end>>"),
		"an empty loop":        rule("<<range 2000000000>><<end>>"),
		"loops in loops":       rule("<<range 100000>><<range 100000>><<end>><<end>>"),
		"a doubling string":    rule(`<<$x := "aaaaaaaaaa">><<range 60>><<$x = printf "%s%s" $x $x>><<end>><<$x>>`),
		"a width":              rule(`<<printf "%1000000000d" 1>>`),
		"a template of itself": rule(`<<define "a">><<template "a">><<template "a">><<end>><<template "a">>`),
		"a resource's label":   strings.Replace(rule(sum), "<<.Resource>>", `"<<range 2000000000>>x<<end>>"`, 1),
		"a subquery":           rule("count_over_time(vector(1)[50y:1ms])"),
	} {
		write(bad)
		began := time.Now()
		out, err := s.memory.command(os.Getenv(built), "check", config).CombinedOutput()
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "signal", name)
		require.Less(t, time.Since(began), tooLate, "%s: %s", name, out)
		require.Eventually(t, func() bool {
			_, body, err := s.get("http://" + s.web + "/autoscalers")
			return err == nil && strings.Contains(body, "(the running configuration stays)")
		}, patience, 100*time.Millisecond, name)
		s.eventually("shop/services/app/waiting", equal(shopPods*podDepth))
	}
	s.endure("templates", 2*time.Second)
	s.end()
}
