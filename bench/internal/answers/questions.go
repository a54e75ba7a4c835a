package answers

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	cmapiserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"

	"github.com/promlet/promlet/bench/internal/harness"
)

const (
	version = "/apis/custom.metrics.k8s.io/v1beta2"

	acceptJSON = "application/json"
	// The HorizontalPodAutoscaler asks as kube-controller-manager asks for everything.
	acceptAutoscaler = "application/vnd.kubernetes.protobuf, */*"
	acceptAggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
)

// catalogNames is how many metrics targets expose besides those that are asked for.
const catalogNames = 10_000

// subject is what a server has, and what it is asked.
type subject struct {
	fleet
	questions []question
}

// subjects are in the order of the table's rows.
func subjects() []subject {
	var out []subject
	single := fleet{Namespaces: 1, Apps: 1, Pods: 100, Series: 1}
	one := podsOf("default", "app-0", single)
	one.name, one.expected = one.name+", a series each", true
	out = append(out, subject{single, []question{one}})
	for _, n := range []int{10, 100, 1000} {
		f := fleet{Namespaces: 1, Apps: 1, Pods: n}
		questions := []question{podsOf("default", "app-0", f), serviceOf("default", "app-0", f), namespaceOf("default", f)}
		if n == 100 {
			questions[0].expected = true
			binary := podsOf("default", "app-0", f)
			binary.name, binary.accept, binary.expected = binary.name+", protobuf", acceptAutoscaler, true
			questions = append(questions, binary, missing())
		}
		out = append(out, subject{f, questions})
	}
	return append(out, subject{fleet{Namespaces: 1, Apps: 1, Pods: 10, Names: catalogNames}, discoveryDocuments()})
}

// podsOf asks for the pods of an application.
func podsOf(namespace, app string, of fleet) question {
	return question{
		name:   fmt.Sprintf("pods/*, %s pods", harness.Grouped(of.Pods)),
		path:   version + "/namespaces/" + namespace + "/pods/*/" + counterRate + "?labelSelector=app%3D" + app,
		accept: acceptJSON, status: http.StatusOK, check: checkValues(of.Pods, of.series()),
	}
}

func serviceOf(namespace, app string, of fleet) question {
	return question{
		name:   fmt.Sprintf("services/x, %s pods", harness.Grouped(of.Pods)),
		path:   version + "/namespaces/" + namespace + "/services/" + app + "/" + counterRate,
		accept: acceptJSON, status: http.StatusOK, check: checkValues(1, of.Pods*of.series()),
	}
}

func namespaceOf(namespace string, of fleet) question {
	return question{
		name:   fmt.Sprintf("namespaces/x, %s pods", harness.Grouped(of.Pods)),
		path:   version + "/namespaces/" + namespace + "/metrics/" + counterRate,
		accept: acceptJSON, status: http.StatusOK, check: checkValues(1, of.Pods*of.series()),
	}
}

func missing() question {
	return question{
		name:   "404, no such metric",
		path:   version + "/namespaces/default/pods/*/no_such_metric?labelSelector=app%3Dapp-0",
		accept: acceptJSON, status: http.StatusNotFound, check: func([]byte) error { return nil },
	}
}

// discoveryDocuments ask which metrics there are. Each is there for namespaces, pods and
// services; besides the catalog's there are the fleet's two.
func discoveryDocuments() []question {
	const entries = 3 * (catalogNames + 2)
	plain := question{name: fmt.Sprintf("discovery, %s names", harness.Grouped(catalogNames)), path: version, accept: acceptJSON, status: http.StatusOK}
	plain.check = func(text []byte) error {
		var list metav1.APIResourceList
		if err := json.Unmarshal(text, &list); err != nil {
			return err
		}
		return mustBe(len(list.APIResources), entries, "metrics")
	}
	aggregated := question{name: "the same, aggregated", path: "/apis", accept: acceptAggregated, status: http.StatusOK}
	aggregated.check = func(text []byte) error {
		var list apidiscoveryv2.APIGroupDiscoveryList
		if err := json.Unmarshal(text, &list); err != nil {
			return err
		}
		var listed int
		for _, resource := range list.Items[0].Versions[0].Resources {
			listed += len(resource.Subresources)
		}
		return mustBe(listed, entries, "metrics")
	}
	again := aggregated
	again.name, again.revalidates = "the same, not modified", true
	return []question{plain, aggregated, again}
}

// checkValues returns a check that an answer, in JSON or protobuf, has this number of values and that each is the rate.
func checkValues(values, rate int) func([]byte) error { return checkRates(values, rate, 0) }

// checkRates is checkValues with a tolerance, which is a share of the rate.
func checkRates(values, rate int, tolerance float64) func([]byte) error {
	return func(text []byte) error {
		decoded, _, err := cmapiserver.Codecs.UniversalDeserializer().Decode(text, nil, nil)
		if err != nil {
			return err
		}
		list, ok := decoded.(*v1beta2.MetricValueList)
		if !ok {
			return fmt.Errorf("it is a %T", decoded)
		}
		for _, item := range list.Items {
			if off := item.Value.AsApproximateFloat64() - float64(rate); math.Abs(off) > tolerance*float64(rate) {
				return fmt.Errorf("%s has %s instead of %d", item.DescribedObject.Name, &item.Value, rate)
			}
		}
		return mustBe(len(list.Items), values, "values")
	}
}

func mustBe(got, want int, what string) error {
	if got != want {
		return fmt.Errorf("%d %s instead of %d", got, what, want)
	}
	return nil
}
