package web

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/promlet/promlet/adapter/autoscalers"
	"github.com/promlet/promlet/adapter/values"
)

//go:embed assets
var assets embed.FS

// page is one of the pages. Its data is rendered by its template, and is its JSON twin.
type page struct {
	Path, Title string
	data        func(*http.Request) (any, error)
	template    *template.Template
}

// frame is the data of a page with the parts that all pages have.
type frame struct {
	Version  string
	Title    string
	Pages    []page
	Path     string
	Twin     string // URL of the JSON twin
	NotReady string
	Problems []Problem
	Data     any
	Err      string
	At       time.Time
}

// Problem is a reason why metrics are not served.
type Problem struct {
	Text string
	URL  string // of the page with the rule or monitor that causes it, "" for none
}

// parseTemplates sets the template of each page.
func parseTemplates(pages []page, now func() time.Time) (err error) {
	for i := range pages {
		p := &pages[i]
		file := "assets/" + strings.ToLower(p.Title) + ".html"
		if p.template, err = template.New("frame.html").Funcs(functions(now)).ParseFS(assets, "assets/frame.html", file); err != nil {
			return fmt.Errorf("page %s: %w", p.Title, err)
		}
	}
	return nil
}

func functions(now func() time.Time) template.FuncMap {
	return template.FuncMap{
		"amount":     amount,
		"decimal":    values.DecimalText,
		"graph":      func(a autoscaler, m autoscalers.Metric) *graph { return newGraph(&a.Autoscaler, &m, now()) },
		"counted":    counted,
		"explainURL": explainURL,
		"ago":        func(at time.Time) string { return ago(now(), at) },
		"took":       func(d time.Duration) string { return d.Round(100 * time.Microsecond).String() },
		"join":       strings.Join,
		"rounded":    func(d time.Duration) string { return model.Duration(d.Round(time.Second)).String() },
		"ruleYAML":   ruleYAML,
	}
}

// servePage renders a page. An error of its data is shown in the page.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request, p *page) {
	f := frame{
		Version: s.opts.Version, Title: p.Title, Pages: s.pages, Path: p.Path, Problems: s.opts.Problems(), At: s.now(),
		Twin: p.Path + ".json",
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
	if err := p.template.Execute(&b, f); err != nil {
		s.opts.Logger.Error("render page", "page", p.Title, "err", err)
		http.Error(w, "render page: "+err.Error(), http.StatusInternalServerError)
		return
	}
	s.answer(w, status, "text/html; charset=utf-8", b.Bytes())
}

func (s *Server) answer(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	s.write(w, body)
}

// dataOf returns a page's data, of at most maxPages pages at the same time.
func (s *Server) dataOf(p *page, r *http.Request) (any, error) {
	select {
	case s.rendering <- struct{}{}:
		defer func() { <-s.rendering }()
		return p.data(r)
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func (s *Server) serveTwin(w http.ResponseWriter, r *http.Request, p *page) {
	data, err := s.dataOf(p, r)
	var body []byte
	if err == nil {
		body, err = json.MarshalIndent(data, "", "  ")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.answer(w, http.StatusOK, "application/json", append(body, '\n'))
}

// listed is the part of a long list that a page shows.
type listed struct {
	Query string `json:"query,omitempty"` // a part of the name
	From  int    `json:"from"`
	Shown int    `json:"shown"`
	Of    int    `json:"of"`
	base  url.Values
	path  string
}

// newListed reads the filter and the first item to show: q and from.
func newListed(r *http.Request) listed {
	from, err := strconv.Atoi(r.URL.Query().Get("from"))
	if err != nil {
		from = 0
	}
	from = max(0, from)
	return listed{Query: r.URL.Query().Get("q"), From: from, base: r.URL.Query(), path: r.URL.Path}
}

func (l *listed) matches(text string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(l.Query))
}

// window returns the bounds of the part of n items.
func (l *listed) window(n, most int) (from, to int) {
	l.Of = n
	if l.From >= n {
		l.From = 0
	}
	to = min(n, l.From+most)
	l.Shown = to - l.From
	return l.From, to
}

// Last and First are the numbers of the last and the first item shown, from 1.
func (l *listed) Last() int  { return l.From + l.Shown }
func (l *listed) First() int { return min(l.From+1, l.Of) }

// Next links to the following part. It is empty for the last part.
func (l *listed) Next() string {
	if l.Last() >= l.Of {
		return ""
	}
	return l.at(l.Last())
}

// Previous links to the part before. It is empty for the first part.
func (l *listed) Previous() string {
	if l.From == 0 {
		return ""
	}
	return l.at(max(0, l.From-max(l.Shown, 1)))
}

func (l *listed) at(from int) string {
	query := cloned(l.base)
	query.Set("from", strconv.Itoa(from))
	return l.path + "?" + query.Encode()
}

// cloned returns a copy of a query, which may be nil. The copy is never nil.
func cloned(query url.Values) url.Values {
	if query == nil {
		return url.Values{}
	}
	return maps.Clone(query)
}

// counted returns a number with its noun, such as "1 pod" or "3 pods".
func counted(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + several
}

// milli formats milli-units.
func milli(m int64) string { return values.Decimal(*resource.NewMilliQuantity(m, resource.DecimalSI)) }

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
