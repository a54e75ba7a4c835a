package adapter

import (
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// absence is why there is no value: an answer to the caller, not a fault.
type absence struct {
	reason string
	// unknownMetric: nothing makes such a metric for any object.
	unknownMetric bool
	// starting: there will be one in a moment.
	starting bool
	// settled: the reason is complete, and looking for a missing link adds nothing.
	settled bool
	// as is what it counts as; "" leaves that to the other fields.
	as answer
}

func (a *absence) Error() string { return a.reason }

func absent(format string, args ...any) error {
	return &absence{reason: fmt.Sprintf(format, args...)}
}

func absentAs(as answer, format string, args ...any) error {
	return &absence{reason: fmt.Sprintf(format, args...), as: as}
}

// settled is an absence that evaluation has found the whole reason of.
func settled(as answer, format string, args ...any) error {
	return &absence{reason: fmt.Sprintf(format, args...), as: as, settled: true}
}

// isNotFound tells of what is no absence and is not there either.
func isNotFound(err error) bool {
	return errors.Is(err, errUnsupportedOperator) || meta.IsNoMatchError(err)
}

// apiStatus chooses the API status of an error, here and nowhere else: what is
// not there is 404 as in prometheus-adapter, with the reason; everything else
// is a fault, 500. The message is what kubectl describe hpa shows.
func apiStatus(err error, metric, object string) error {
	var status apierrors.APIStatus
	var gone *absence
	switch {
	case err == nil || errors.As(err, &status):
		return err
	case errors.As(err, &gone), isNotFound(err):
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status:  metav1.StatusFailure,
			Code:    http.StatusNotFound,
			Reason:  metav1.StatusReasonNotFound,
			Message: fmt.Sprintf("the server could not find the metric %s for %s: %v", metric, object, err),
		}}
	default:
		return apierrors.NewInternalError(fmt.Errorf("metric %s for %s: %w", metric, object, err))
	}
}
