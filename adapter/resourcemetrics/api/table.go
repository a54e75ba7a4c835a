package api

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/promlet/promlet/adapter/resourcemetrics"
)

// row is what a table shows of one pod or node.
type row struct {
	object runtime.Object
	name   string
	usage  corev1.ResourceList
	window time.Duration
}

// table returns a table with metrics-server's columns: name, CPU, memory and window. It has a column for swap if any row has
// swap.
func table(rows []row) *metav1.Table {
	shown := []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory}
	for _, r := range rows {
		if _, ok := r.usage[resourcemetrics.ResourceSwap]; ok {
			shown = append(shown, resourcemetrics.ResourceSwap)
			break
		}
	}
	made := &metav1.Table{
		ColumnDefinitions: []metav1.TableColumnDefinition{{Name: "Name", Type: "string", Format: "name", Description: "Name of the resource"}},
		Rows:              make([]metav1.TableRow, len(rows)),
	}
	for _, name := range shown {
		made.ColumnDefinitions = append(made.ColumnDefinitions, metav1.TableColumnDefinition{Name: string(name), Type: "string", Format: "quantity"})
	}
	made.ColumnDefinitions = append(made.ColumnDefinitions, metav1.TableColumnDefinition{Name: "Window", Type: "string", Format: "duration"})
	for i, r := range rows {
		cells := []any{r.name}
		for _, name := range shown {
			quantity, ok := r.usage[name]
			if !ok {
				cells = append(cells, "<unknown>") // as kubectl top prints it
				continue
			}
			cells = append(cells, quantity.String())
		}
		made.Rows[i] = metav1.TableRow{Cells: append(cells, r.window.String()), Object: runtime.RawExtension{Object: r.object}}
	}
	return made
}
