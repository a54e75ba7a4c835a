package replicas

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podsOf makes pods of two containers that request a core each, from a text with a word for each pod: how many thousandths
// of a core each container uses, "-" for no value; and after a colon what is special about it.
func podsOf(t *testing.T, text string, now time.Time) (pods []*corev1.Pod, used map[string]Usage) {
	t.Helper()
	used = map[string]Usage{}
	for i, word := range strings.Fields(text) {
		usage, special, _ := strings.Cut(word, ":")
		request := corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("1"), "memory": resource.MustParse("1Gi")}}
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("pod-%d", i)},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Resources: request}, {Name: "b", Resources: *request.DeepCopy()}}},
			Status: corev1.PodStatus{
				Phase: corev1.PodRunning, StartTime: &metav1.Time{Time: now.Add(-10 * time.Minute)},
				Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-10 * time.Minute))}},
			},
		}
		ready := &pod.Status.Conditions[0]
		switch special {
		case "":
		case "unready":
			ready.Status = corev1.ConditionFalse
		case "hot":
			pod.Status.StartTime, ready.LastTransitionTime = &metav1.Time{Time: now}, metav1.NewTime(now)
		case "pending":
			pod.Status.Phase, ready.Status = corev1.PodPending, corev1.ConditionFalse
		case "failed":
			pod.Status.Phase, ready.Status = corev1.PodFailed, corev1.ConditionFalse
		case "deleted":
			pod.DeletionTimestamp, ready.Status = &metav1.Time{Time: now}, corev1.ConditionFalse
		case "big":
			pod.Spec.Containers[0].Resources.Requests["cpu"] = resource.MustParse("3")
		default:
			t.Fatal(special)
		}
		pods = append(pods, pod)
		if usage != "-" {
			milli, err := strconv.ParseInt(usage, 10, 64)
			require.NoError(t, err)
			used[pod.Name] = Usage{Milli: 2 * milli, Time: now, Window: time.Minute}
		}
	}
	return pods, used
}

// The cases of TestReplicaCalcResourceScale and TestReplicaCalcResourceMissingMetrics of Kubernetes 1.37.
func TestForResourceUtilization(t *testing.T) {
	spec, now := &autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 100}, time.Now()
	f := func(text string, current int, target int32, want, percent int) {
		t.Helper()
		pods, used := podsOf(t, text, now)
		got, err := ForResource(spec, ResourceMetric{Resource: "cpu", Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &target}}, pods, used, current, now)
		require.NoError(t, err)
		require.Equal(t, [2]int{want, percent * 1000}, [2]int{got.Replicas, int(got.Milli)})
	}
	f("300 500 700", 3, 30, 5, 50)
	f("300:unready 500 700", 3, 30, 4, 60)
	f("300:hot 500 700", 3, 30, 4, 60)
	f("400 500:unready 700:unready", 3, 30, 3, 40)
	f("500 700 -:failed -:failed", 2, 30, 4, 60)
	f("500 700 -:deleted -:deleted", 2, 30, 4, 60)
	f("100 300 500 250 250", 5, 50, 3, 28)
	f("100 300 500 250:unready 250:unready", 5, 50, 2, 30)
	f("100 -:pending -:pending -:pending -:pending", 5, 50, 1, 10)
	f("100 300 500 250:hot 250:hot", 5, 50, 2, 30)
	f("100 300 500 250 250 -:failed -:failed", 5, 50, 3, 28)
	f("100 300 500 250 250 10:deleted 10:deleted", 5, 50, 3, 28)

	f("400 95 - -", 4, 100, 3, 24)
	f("1000 -", 2, 100, 2, 100)
	f("1900 -", 2, 100, 2, 190)
	f("600 -", 2, 100, 2, 60)
	f("100:unready 450 -", 3, 50, 3, 45)
	f("100:hot 450 -", 3, 50, 3, 45)
	f("100:unready 2000 -", 3, 50, 4, 200)
	f("100:unready 100 100 -", 4, 50, 3, 10)
	f("200:unready 100 100:big -:big", 4, 300, 2, 6) // a missing pod uses the target above 100 %
	f("100 100 -", 2, 50, 2, 10)
}

// The cases of TestReplicaCalcPodMetric hold for average values, too; what differs for resources is which pods count.
func TestForResourceAverageValue(t *testing.T) {
	spec, now := &autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 100}, time.Now()
	f := func(name corev1.ResourceName, text string, current int, target string, want int, milli int64) {
		t.Helper()
		pods, used := podsOf(t, text, now)
		average := resource.MustParse(target)
		got, err := ForResource(spec, ResourceMetric{Resource: name, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &average}}, pods, used, current, now)
		require.NoError(t, err)
		require.Equal(t, [2]int64{int64(want), milli}, [2]int64{int64(got.Replicas), got.Milli})
	}
	f("cpu", "300 500 700", 3, "600m", 5, 1000)
	f("cpu", "300:unready 500 700", 3, "600m", 4, 1200)
	f("cpu", "300:hot 500 700", 3, "600m", 4, 1200)
	f("memory", "300:hot 500:unready 700", 3, "600m", 5, 1000) // memory of a start is memory
	f("memory", "300 -", 2, "600m", 2, 600)
	f("memory", "100 -:pending", 2, "600m", 1, 200)
}

func TestForResourceWithoutValue(t *testing.T) {
	spec, now := &autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 100}, time.Now()
	target := int32(50)
	utilization := autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &target}
	f := func(text string, m ResourceMetric, change func([]*corev1.Pod), want string) {
		t.Helper()
		pods, used := podsOf(t, text, now)
		change(pods)
		got, err := ForResource(spec, m, pods, used, 1, now)
		require.EqualError(t, err, want)
		require.Zero(t, got.Replicas)
	}
	none := func([]*corev1.Pod) {}
	f("100:unready -:pending", ResourceMetric{Resource: "cpu", Target: utilization}, none, errUnready.Error())
	f("100", ResourceMetric{Resource: "cpu", Container: "x", Target: utilization}, none, "pod pod-0 has no container x")
	f("100 -:failed", ResourceMetric{Resource: "cpu", Target: utilization}, func(pods []*corev1.Pod) {
		pods[1].Spec.Containers[1].Resources.Requests = nil
	}, "container b of pod pod-1 requests no cpu, so there is no utilization: set resources.requests")
	f("100", ResourceMetric{Resource: "cpu", Target: utilization}, func(pods []*corev1.Pod) {
		pods[0].Spec.Resources = &corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("0")}}
	}, "the pods request no cpu")
	f("100", ResourceMetric{Resource: "cpu", Target: utilization}, func(pods []*corev1.Pod) { pods[0].Status.StartTime = nil }, errUnready.Error())
	f("100", ResourceMetric{Resource: "cpu", Target: utilization}, func(pods []*corev1.Pod) { pods[0].Status.Conditions = nil }, errUnready.Error())
}

// The cases of TestGroupPods about the start of a pod.
func TestInitializes(t *testing.T) {
	now := time.Now()
	f := func(started, changed time.Duration, ready corev1.ConditionStatus, window time.Duration, want bool) {
		t.Helper()
		pod := &corev1.Pod{Status: corev1.PodStatus{
			StartTime:  &metav1.Time{Time: now.Add(-started)},
			Conditions: []corev1.PodCondition{{Type: "Other"}, {Type: corev1.PodReady, Status: ready, LastTransitionTime: metav1.NewTime(now.Add(-changed))}},
		}}
		require.Equal(t, want, initializes(pod, Usage{Time: now, Window: window}, now))
	}
	const yes, no = corev1.ConditionTrue, corev1.ConditionFalse
	f(time.Minute, 30*time.Second, yes, 30*time.Second, false)
	f(time.Minute, 30*time.Second, yes, time.Minute, true) // part of the window is from before it was ready
	f(time.Minute, 30*time.Second, no, 0, true)
	f(10*time.Minute, 9*time.Minute+54*time.Second, no, 0, true) // it has never been ready
	f(10*time.Minute, 9*time.Minute, no, 0, false)               // it was
	f(10*time.Minute, 10*time.Second, yes, time.Minute, false)
}

// The cases of TestCalculateRequests.
func TestRequests(t *testing.T) {
	core := func(text string) corev1.ResourceRequirements {
		return corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse(text)}}
	}
	always, own := corev1.ContainerRestartPolicyAlways, core("7")
	pod := &corev1.Pod{Spec: corev1.PodSpec{
		Containers:     []corev1.Container{{Name: "a", Resources: core("100m")}, {Name: "b", Resources: core("50m")}},
		InitContainers: []corev1.Container{{Name: "sidecar", RestartPolicy: &always, Resources: core("20m")}, {Name: "init", Resources: core("5")}},
	}}
	f := func(container string, want int64) {
		t.Helper()
		got, err := ResourceMetric{Resource: "cpu", Container: container}.requestOf(pod)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	f("", 170)
	f("b", 50)
	f("sidecar", 20)
	pod.Spec.Resources = &own
	f("", 7000)
	f("b", 50)
}
