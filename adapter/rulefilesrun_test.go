package adapter

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/adapter/rules"
)

// ruleFiles tests the published configurations: their requests, answers and evaluated queries.
type ruleFiles struct {
	t      *testing.T
	engine *testEngine // has the series; nil: promlet does
}

func (r ruleFiles) all() {
	r.ofTheChart()
	r.ofTheDocumentation()
	r.ofIngressesAndMeshes()
	r.withLiteralQueries()
	r.ofPodsAndWorkloads()
	r.withJoins()
	r.ofOddities()
	r.external()
	r.externalOfIssues()
}

func TestRuleFiles(t *testing.T) { ruleFiles{t: t}.all() }

// run calls f with the rules of a file.
func (r ruleFiles) run(file string, f func(*fixture, *queryLog)) {
	r.t.Helper()
	r.t.Run(file, func(t *testing.T) {
		cfg, err := ruleFile(file)
		require.NoError(t, err)
		var log queryLog
		opts := Options{Rules: rules.Set{Custom: cfg.Rules, External: cfg.ExternalRules}, Mapper: mapperWithCRDs(t), Logger: slog.New(&log)}
		if r.engine == nil {
			f(newFixtureWith(t, opts), &log)
			return
		}
		f(newFixtureByURL(t, r.engine, opts), &log)
	})
}

// check compares an answer with what is wanted.
func (r ruleFiles) check(f *fixture, request asked, got string, queries []string) {
	f.t.Helper()
	code, part, fails := strings.Cut(request.want, " … ")
	switch {
	case fails:
		require.Equal(f.t, code+": ", got[:min(len(got), len(code)+2)], "%s: %s", request.path, got)
		if r.engine != nil { // an engine has other reasons
			return
		}
		require.Contains(f.t, got, part, request.path)
	case r.engine != nil:
		requireSameValues(f.t, request.want, got, request.path)
	default:
		require.Equal(f.t, request.want, got, request.path)
	}
	require.Equal(f.t, request.queries, queries, request.path)
}

// queryLog keeps the queries that a provider logs as it evaluates them.
type queryLog struct{ queries []string }

func (*queryLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *queryLog) WithAttrs([]slog.Attr) slog.Handler     { return l }
func (l *queryLog) WithGroup(string) slog.Handler          { return l }

func (l *queryLog) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if r.Message == "evaluate" && a.Key == "query" {
			l.queries = append(l.queries, a.Value.String())
		}
		return true
	})
	return nil
}
