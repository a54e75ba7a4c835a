package metricsserver

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// kubelet plays what the kubelet of one node serves, with all that can go wrong between two scrapes.
type kubelet struct {
	random *rand.Rand
	node   string
	pods   []*playedPod
	self   counter
}

// playedPod is named after its node: no other kubelet reports it.
type playedPod struct {
	name       string
	containers []*counter
}

// counter is what a container or node has used. Times are seconds since 1970.
type counter struct {
	name              string
	start, time, cpu  float64
	memory            float64
	noStart, reported bool
	kept              []counter // what was served, for a kubelet that serves an old sample again
}

func newKubelet(random *rand.Rand, node string, now float64) *kubelet {
	k := &kubelet{random: random, node: node, self: counter{time: now, cpu: 1000, memory: 1 << 30, noStart: true}}
	for p := range 1 + random.IntN(4) {
		pod := &playedPod{name: fmt.Sprintf("%s-pod-%d", node, p)}
		for c := range 1 + random.IntN(3) {
			pod.containers = append(pod.containers, &counter{
				name: fmt.Sprintf("c%d", c), start: now - float64(random.IntN(60)), time: now,
				cpu: random.Float64() * 100, memory: float64(1 + random.IntN(1<<30)), noStart: random.IntN(8) == 0,
			})
		}
		k.pods = append(k.pods, pod)
	}
	return k
}

// step moves a counter on to the sample that is served now.
func (c *counter) step(random *rand.Rand, now float64) {
	c.kept = append(c.kept, counter{start: c.start, time: c.time, cpu: c.cpu, memory: c.memory})
	c.reported = true
	previous := c.kept[random.IntN(len(c.kept))]
	c.time, c.cpu = now-float64(random.IntN(3000))/1000, c.cpu+random.Float64()*30
	c.memory = float64(1 + random.IntN(1<<30))
	switch random.IntN(40) {
	case 0: // the last sample again
		last := c.kept[len(c.kept)-1]
		c.time, c.cpu, c.memory = last.time, last.cpu, last.memory
	case 1: // an old one
		c.time, c.cpu, c.memory = previous.time+float64(random.IntN(2)), previous.cpu, previous.memory
	case 2: // restarted
		c.start, c.cpu = c.time-float64(random.IntN(20000))/1000, random.Float64()
	case 3: // restarted, and nobody says so
		c.cpu = random.Float64()
	case 4:
		c.reported = false
	case 5:
		c.cpu = 0
	case 6:
		c.memory = 0
	case 7:
		c.start = c.time + 5
	}
}

// body is what the kubelet serves at a time.
func (k *kubelet) body(now float64) string {
	var cpu, memory, start strings.Builder
	for _, pod := range k.pods {
		gone := k.random.IntN(15) == 0
		for _, c := range pod.containers {
			c.step(k.random, now)
			if !c.reported || gone {
				continue
			}
			of := fmt.Sprintf(`{container="%s",namespace="team",pod="%s"}`, c.name, pod.name)
			fmt.Fprintf(&cpu, "container_cpu_usage_seconds_total%s %v %d\n", of, c.cpu, int64(c.time*1000))
			fmt.Fprintf(&memory, "container_memory_working_set_bytes%s %v %d\n", of, c.memory, int64(c.time*1000))
			if !c.noStart {
				fmt.Fprintf(&start, "container_start_time_seconds%s %v\n", of, c.start)
			}
		}
	}
	k.self.step(k.random, now)
	if k.self.reported {
		fmt.Fprintf(&cpu, "node_cpu_usage_seconds_total %v %d\n", k.self.cpu, int64(k.self.time*1000))
		fmt.Fprintf(&memory, "node_memory_working_set_bytes %v %d\n", k.self.memory, int64(k.self.time*1000))
	}
	return cpu.String() + memory.String() + start.String() + "scrape_error 0\nresource_scrape_error 0\n"
}
