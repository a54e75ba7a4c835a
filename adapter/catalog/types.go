package catalog

import (
	"slices"

	"github.com/prometheus/common/model"

	"github.com/promlet/promlet/adapter/rules"
)

// typeTable has the types of the names that targets expose. The types of a job that is
// limited to one namespace do not count in others. A typeTable never changes.
type typeTable struct {
	common map[string]model.MetricType // by series name; unknown if jobs differ
	// differing has the names with different types in different jobs. Its values are all
	// types that the name has in any namespace, or in all together.
	differing map[string][]model.MetricType
	// within has the types of these names in the namespaces that jobs are limited to. The
	// namespace "" stands for all others.
	within map[seriesIn]model.MetricType
	// only has the namespace of names that only jobs of one namespace expose. It has only
	// names with characters that metrics cannot have: thousands of these may be one metric.
	only map[string]string
}

// seriesIn is a series name in a namespace.
type seriesIn struct{ series, namespace string }

func newTypeTable(exposed []Exposed) *typeTable {
	t := &typeTable{
		common:    make(map[string]model.MetricType, len(exposed)),
		differing: map[string][]model.MetricType{}, within: map[seriesIn]model.MetricType{}, only: map[string]string{},
	}
	for i := range exposed {
		if e := &exposed[i]; !agree(t.common, e.Name, e.Type) {
			t.differing[e.Name] = []model.MetricType{model.MetricTypeUnknown}
		}
	}
	t.noteOnly(exposed)
	for i := range exposed {
		e := &exposed[i]
		if _, differ := t.differing[e.Name]; differ {
			agree(t.within, seriesIn{e.Name, e.Only}, e.Type)
		}
	}
	for in, typ := range t.within {
		if ofAny, ok := t.within[seriesIn{in.series, ""}]; ok && typ != ofAny {
			typ = model.MetricTypeUnknown
			t.within[in] = typ
		}
		if all := t.differing[in.series]; !slices.Contains(all, typ) {
			t.differing[in.series] = append(all, typ)
		}
	}
	return t
}

func (t *typeTable) noteOnly(exposed []Exposed) {
	for i := range exposed {
		e := &exposed[i]
		if model.LegacyValidation.IsValidMetricName(e.Name) {
			continue
		}
		if known, ok := t.only[e.Name]; ok && known != e.Only {
			t.only[e.Name] = ""
		} else {
			t.only[e.Name] = e.Only
		}
	}
}

// agree adds a type and returns true. If another type was known, it sets the type to unknown
// and returns false.
func agree[K comparable](types map[K]model.MetricType, of K, typ model.MetricType) bool {
	known, ok := types[of]
	if ok && known != typ {
		types[of] = model.MetricTypeUnknown
		return false
	}
	types[of] = typ
	return true
}

// of returns the type of a name in a namespace, "" for all namespaces together.
func (t *typeTable) of(series, namespace string) model.MetricType {
	if _, differ := t.differing[series]; !differ || namespace == "" {
		return t.common[series]
	}
	if typ, ok := t.within[seriesIn{series, namespace}]; ok {
		return typ
	}
	return t.within[seriesIn{series, ""}]
}

// metricName returns the name of the metric that a rule makes of a series in any namespace.
func (t *typeTable) metricName(r *rules.Compiled, series string) (name string, ok bool) {
	types, differ := t.differing[series]
	if !differ {
		return r.MetricName(series, t.common[series])
	}
	for _, typ := range types {
		if name, ok = r.MetricName(series, typ); ok {
			break
		}
	}
	return name, ok
}

// holds reports whether a mapping is valid in a namespace.
func (t *typeTable) holds(m Mapping, namespace string) bool {
	if only := t.only[m.Series]; only != "" && namespace != "" && only != namespace {
		return false
	}
	if _, differ := t.differing[m.Series]; !differ {
		return true
	}
	_, ok := m.Rule.MetricName(m.Series, t.of(m.Series, namespace))
	return ok
}
