package web

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/promlet/promlet/adapter/autoscalers"
)

//go:embed assets
var assets embed.FS

// page is one of the pages. What data returns is given to its template, and is its JSON twin.
type page struct {
	path, title string
	data        func(*http.Request) (any, error)
}

// name is that of its template.
func (p *page) name() string { return strings.ToLower(p.title) + ".html" }

// frame is what stands around a page.
type frame struct {
	Version  string
	Title    string
	Pages    []page
	Path     string
	Twin     string // URL of the JSON twin
	NotReady string
	Problems []string
	Data     any
	Err      string
	At       time.Time
}

// Link is for the template, as Name.
func (p page) Link() string { return p.path }

// Name is what the page is called.
func (p page) Name() string { return p.title }

// views are the templates, by page.
type views struct{ byName map[string]*template.Template }

func parseViews(pages []page, now func() time.Time) (*views, error) {
	v := &views{byName: map[string]*template.Template{}}
	for i := range pages {
		name := pages[i].name()
		t, err := template.New("frame.html").Funcs(functions(now)).ParseFS(assets, "assets/frame.html", "assets/"+name)
		if err != nil {
			return nil, fmt.Errorf("page %s: %w", pages[i].title, err)
		}
		v.byName[name] = t
	}
	return v, nil
}

func functions(now func() time.Time) template.FuncMap {
	return template.FuncMap{
		"milli":      milli,
		"decimal":    decimal,
		"sparkline":  func(m autoscalers.Metric) template.HTML { return sparkline(&m, now()) },
		"explainURL": explainURL,
		"ago":        func(at time.Time) string { return ago(now(), at) },
		"took":       func(d time.Duration) string { return d.Round(100 * time.Microsecond).String() },
		"join":       strings.Join,
		"rounded":    func(d time.Duration) string { return d.Round(time.Second).String() },
	}
}

// servePage answers also when there is nothing to show: with what is wrong, in the frame.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request, p *page) {
	f := frame{
		Version: s.opts.Version, Title: p.title, Pages: s.pages, Path: p.path, Problems: s.opts.Problems(), At: s.now(),
		Twin: p.path + ".json",
	}
	if r.URL.RawQuery != "" {
		f.Twin += "?" + r.URL.RawQuery
	}
	if err := s.opts.Ready(); err != nil {
		f.NotReady = err.Error()
	}
	status := http.StatusOK
	var err error
	if f.Data, err = s.dataOf(p, r); err != nil {
		f.Data, f.Err, status = nil, err.Error(), http.StatusInternalServerError
	}
	var b bytes.Buffer
	if err := s.views.byName[p.name()].Execute(&b, f); err != nil {
		s.opts.Logger.Error("page not made", "page", p.title, "err", err)
		http.Error(w, "this page could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	s.write(w, b.Bytes())
}

// dataOf makes what a page shows when it is its turn.
func (s *Server) dataOf(p *page, r *http.Request) (any, error) {
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
		return p.data(r)
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func (s *Server) serveTwin(w http.ResponseWriter, r *http.Request, p *page) {
	data, err := s.dataOf(p, r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	body, err := json.MarshalIndent(data, "", "  ")
	if err != nil {
		s.opts.Logger.Error("page not made", "page", p.title, "err", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	s.write(w, append(body, '\n'))
}

// listed is the part of a long list that a page shows.
type listed struct {
	Query string `json:"query,omitempty"` // what names hold
	From  int    `json:"from"`
	Shown int    `json:"shown"`
	Of    int    `json:"of"`
	base  url.Values
	path  string
}

// newListed reads which part of a list is asked for: q and from.
func newListed(r *http.Request) listed {
	from, err := strconv.Atoi(r.URL.Query().Get("from"))
	if err != nil || from < 0 {
		from = 0 // the beginning is what anybody wants who asks for nonsense
	}
	return listed{Query: r.URL.Query().Get("q"), From: from, base: r.URL.Query(), path: r.URL.Path}
}

func (l *listed) matches(text string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(l.Query))
}

// window returns the bounds of the part, of n things.
func (l *listed) window(n, most int) (from, to int) {
	l.Of = n
	if l.From >= n {
		l.From = 0
	}
	to = min(n, l.From+most)
	l.Shown = to - l.From
	return l.From, to
}

// Last is the number of the last one shown, First that of the first, from 1.
func (l *listed) Last() int  { return l.From + l.Shown }
func (l *listed) First() int { return min(l.From+1, l.Of) }

// Next and Previous are links to the parts beside this one, empty for none.
func (l *listed) Next() string {
	if l.Last() >= l.Of {
		return ""
	}
	return l.at(l.Last())
}

// Previous is empty for the first part.
func (l *listed) Previous() string {
	if l.From == 0 {
		return ""
	}
	return l.at(max(0, l.From-max(l.Shown, 1)))
}

func (l *listed) at(from int) string {
	values := url.Values{}
	for k, v := range l.base {
		values[k] = v
	}
	values.Set("from", strconv.Itoa(from))
	return l.path + "?" + values.Encode()
}

// milli writes milli-units for a person: at most three decimals.
func milli(m int64) string {
	text := strconv.FormatFloat(float64(m)/1000, 'f', 3, 64)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".")
}

// decimal writes a quantity as a person does: 140.01 for 140010m. What is no quantity, such as the values of
// several objects, it leaves; and what has no milli-units in 64 bits.
func decimal(text string) string {
	q, err := resource.ParseQuantity(text)
	if err != nil || q.Value() > math.MaxInt64/1000 || q.Value() < math.MinInt64/1000 {
		return text
	}
	return milli(q.MilliValue())
}

func ago(now, at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	d := max(0, now.Sub(at))
	if d < 10*time.Second {
		return d.Round(100*time.Millisecond).String() + " ago"
	}
	return d.Round(time.Second).String() + " ago"
}
