package main

import (
	"context"
	"net"

	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// dialTo makes every connection lead to one address, that of the targets.
func dialTo(address string) []config_util.HTTPClientOption {
	return []config_util.HTTPClientOption{
		config_util.WithDialContextFunc(func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}),
	}
}

// discard is a storage.AppendableV2 that keeps nothing.
type discard struct{}

func (discard) AppenderV2(context.Context) storage.AppenderV2 { return discard{} }

func (discard) Append(ref storage.SeriesRef, _ labels.Labels, _, _ int64, _ float64,
	_ *histogram.Histogram, _ *histogram.FloatHistogram, _ storage.AppendV2Options,
) (storage.SeriesRef, error) {
	return ref, nil
}

func (discard) Commit() error   { return nil }
func (discard) Rollback() error { return nil }
