package web

import (
	"net/http"

	"github.com/promlet/promlet/adapter/autoscalers"
)

// maxAutoscalers is how many HPAs a page evaluates.
const maxAutoscalers = 100

type autoscalersData struct {
	listed
	Lacking     int                      `json:"lacking"` // metrics without a value, of those shown
	Autoscalers []autoscalers.Autoscaler `json:"autoscalers"`
}

func (s *Server) autoscalers(r *http.Request) (any, error) {
	data := &autoscalersData{listed: newListed(r)}
	found, err := s.part(r, data)
	if len(found) == 0 && data.Of > 0 && err == nil { // there are fewer than data.From now
		data.From = 0
		found, err = s.part(r, data)
	}
	if err != nil {
		return nil, err
	}
	data.Autoscalers = found
	data.Shown = len(found)
	for i := range found {
		for j := range found[i].Metrics {
			if m := &found[i].Metrics[j]; m.Served() && m.Value == nil {
				data.Lacking++
			}
		}
	}
	return data, nil
}

// part evaluates the HPAs that the page shows, and counts all that match.
func (s *Server) part(r *http.Request, data *autoscalersData) ([]autoscalers.Autoscaler, error) {
	data.Of = 0
	return s.opts.Autoscalers(r.Context(), func(namespace, name string) bool {
		if !data.matches(namespace + "/" + name) {
			return false
		}
		data.Of++
		return data.Of > data.From && data.Of <= data.From+maxAutoscalers
	})
}
