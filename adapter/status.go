package adapter

import (
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/promlet/promlet/adapter/engine"
	"github.com/promlet/promlet/adapter/values"
)

// apiStatus chooses the API status of an error, here and nowhere else. A missing value is
// 404 with the reason, as in prometheus-adapter. An engine behind a URL that is unavailable
// is 503. Every other error is 500.
// kubectl describe hpa shows the message.
func apiStatus(err error, metric, object string) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return err
	}
	if _, absent := errors.AsType[*values.Absence](err); absent || values.IsNotFound(err) {
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status:  metav1.StatusFailure,
			Code:    http.StatusNotFound,
			Reason:  metav1.StatusReasonNotFound,
			Message: fmt.Sprintf("the server could not find the metric %s for %s: %v", metric, object, err),
		}}
	}
	if failed, ok := errors.AsType[*engine.Error](err); ok && failed.Unavailable {
		return apierrors.NewServiceUnavailable(fmt.Sprintf("metric %s for %s: %v", metric, object, err))
	}
	return apierrors.NewInternalError(fmt.Errorf("metric %s for %s: %w", metric, object, err))
}
