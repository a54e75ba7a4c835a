package web

import (
	"net/http"

	"github.com/promlet/promlet/adapter"
)

// mostAutoscalers is how many are evaluated for one page.
const mostAutoscalers = 100

type autoscalersData struct {
	listed
	Lacking     int                  `json:"lacking"` // metrics without a value, of those shown
	Autoscalers []adapter.Autoscaler `json:"autoscalers"`
}

func (s *Server) autoscalers(r *http.Request) (any, error) {
	data := &autoscalersData{listed: newListed(r)}
	all := 0
	found, err := s.opts.Autoscalers(r.Context(), func(namespace, name string) bool {
		if !data.matches(namespace + "/" + name) {
			return false
		}
		all++
		return all > data.From && all <= data.From+mostAutoscalers
	})
	if err != nil {
		return nil, err
	}
	data.Autoscalers = found
	data.Of, data.Shown = all, len(found)
	for i := range found {
		for j := range found[i].Metrics {
			if m := &found[i].Metrics[j]; m.Served() && m.Value == nil {
				data.Lacking++
			}
		}
	}
	return data, nil
}
