package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/promlet/promlet/adapter/engine"
	"github.com/promlet/promlet/cmd/promlet/configfile"
)

// newEngine returns the engine that the flags or the configuration file name, nil for none.
func (o *options) newEngine(file configfile.File, registry prometheus.Registerer, logger *slog.Logger) (*engine.Engine, error) {
	connection, ok, err := o.engine.Connection(file.Query, o.config, "promlet/"+buildVersion())
	if err != nil || !ok {
		return nil, err
	}
	if o.shard.Partial() {
		return nil, fmt.Errorf("--shard=%s: a shard serves no values, so it queries no engine: leave out --shard or the engine", o.shardText)
	}
	return engine.New(engine.Options{
		Connection:     connection,
		Timeout:        o.queryTimeout,
		MaxConcurrency: o.queryMaxConcurrency,
		RelistInterval: o.engine.RelistInterval,
		MaxAge:         o.engine.MaxAge,
		Logger:         logger.With("component", "engine"),
		Registerer:     registry,
	})
}

// reconnection returns a function that connects the engine as a changed configuration file says. The error says what is
// invalid in the file.
func (a *app) reconnection(file configfile.File) (reconnect func() error, err error) {
	connection, ok, err := a.opts.engine.Connection(file.Query, a.opts.config, "promlet/"+buildVersion())
	switch {
	case err != nil:
		return nil, err
	case ok != (a.engine != nil):
		return nil, errors.New("query was added or removed: restart promlet")
	case !ok || file.Query.Same(a.query.Load()):
		return func() error { return nil }, nil
	}
	if err := connection.Check(); err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	return func() error {
		if err := a.engine.Connect(connection); err != nil {
			return fmt.Errorf("query: %w", err)
		}
		a.query.Store(file.Query)
		return nil
	}, nil
}
