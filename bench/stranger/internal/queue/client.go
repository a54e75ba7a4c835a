package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Depth asks an API server for the depth of the Queue, as the HorizontalPodAutoscaler does.
func Depth(ctx context.Context, client *http.Client, server string) (_ float64, err error) {
	url := server + "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/worker-1/queue_depth"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	var list struct {
		Items []struct{ Value resource.Quantity }
	}
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
		return 0, err
	}
	if len(list.Items) != 1 {
		return 0, fmt.Errorf("%s: %d values", response.Status, len(list.Items))
	}
	return list.Items[0].Value.AsApproximateFloat64(), nil
}
