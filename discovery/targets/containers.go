package targets

import (
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// ContainerPort is a port of a container, or a container without ports. The zero value
// is a port that no container declares.
type ContainerPort struct {
	PortName string
	Number   int32 // 0: no port

	container, image, id string
	init                 bool
	protocol             string
}

// ContainerPorts returns the ports of the containers and then of the init
// containers; a container without ports is listed once, with number 0.
func ContainerPorts(pod *corev1.Pod) []ContainerPort {
	var out []ContainerPort
	add := func(c *corev1.Container, init bool, statuses []corev1.ContainerStatus) {
		port := ContainerPort{container: c.Name, image: c.Image, init: init}
		for i := range statuses {
			if statuses[i].Name == c.Name {
				port.id = statuses[i].ContainerID
				break
			}
		}
		if len(c.Ports) == 0 {
			out = append(out, port)
		}
		for i := range c.Ports {
			p := port
			p.PortName, p.Number, p.protocol = c.Ports[i].Name, c.Ports[i].ContainerPort, string(c.Ports[i].Protocol)
			out = append(out, p)
		}
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i], false, pod.Status.ContainerStatuses)
	}
	for i := range pod.Spec.InitContainers {
		add(&pod.Spec.InitContainers[i], true, pod.Status.InitContainerStatuses)
	}
	return out
}

// address joins an IP address and a port as Prometheus does; without a port it is
// the bare address.
func address(ip string, port int32) string {
	if port == 0 {
		return ip
	}
	return net.JoinHostPort(ip, strconv.Itoa(int(port)))
}

// Finished reports whether a pod's containers have ended for good.
func Finished(pod *corev1.Pod) bool {
	return pod != nil && (pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded)
}

// containerWithPort returns the container port with the number, that of the last
// container where several have it, as in Prometheus.
func containerWithPort(pod *corev1.Pod, number int32) ContainerPort {
	var found ContainerPort
	if number == 0 {
		return found
	}
	for _, c := range ContainerPorts(pod) {
		if c.Number == number && c.container != found.container {
			found = c
		}
	}
	found.id = "" // only the pod role has it
	return found
}
