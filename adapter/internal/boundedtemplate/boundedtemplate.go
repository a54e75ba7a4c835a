// Package boundedtemplate runs templates of text/template, between << and >>, that anybody may have written: it bounds
// the steps and the bytes of a run. A loop over two billion numbers, a string that doubles itself, or a template that
// calls itself ends with an error that says so.
package boundedtemplate

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/template"
	"text/template/parse"
)

const (
	// maxSteps bounds the items of loops and the calls of functions. A query that names ten thousand pods takes one
	// for each.
	maxSteps = 20_000
	// templateSteps is what running a template within another counts: it takes some KiB of the stack.
	templateSteps = 100
	// maxBytes bounds the output and all that functions return, together. It is twice the longest expression.
	maxBytes = 1 << 20
	// maxFormat bounds the format of printf.
	maxFormat = 1 << 10
)

// Errors of Execute, wrapped with the template's name and the place in it.
var (
	// ErrTooLong is returned when a run gives, or holds, too many bytes.
	ErrTooLong = fmt.Errorf("it gives more than %d bytes: make it shorter", maxBytes)
	// ErrTooManySteps is returned when a run takes too many steps.
	ErrTooManySteps = fmt.Errorf("it takes more than %d steps: loop over less", maxSteps)
)

// Template is a parsed template. It may be executed by several goroutines at once.
type Template struct{ parsed *template.Template }

// Parse parses a template. The error has its name and the line.
func Parse(name, text string) (*Template, error) {
	functions := (&run{}).functions()
	parsed, err := template.New(name).Delims("<<", ">>").Funcs(functions).Parse(text)
	if err != nil {
		return nil, err
	}
	steps, err := template.New("").Funcs(functions).Parse(fmt.Sprintf("{{countStep 1}}{{countStep %d}}", templateSteps))
	if err != nil {
		return nil, err
	}
	ofItem, ofTemplate := steps.Root.Nodes[0], steps.Root.Nodes[1]
	for _, t := range parsed.Templates() {
		if t.Tree != nil {
			addSteps(t.Root, ofItem)
			t.Root.Nodes = append([]parse.Node{ofTemplate}, t.Root.Nodes...)
		}
	}
	return &Template{parsed: parsed}, nil
}

// addSteps puts a step before the body of each loop.
func addSteps(list *parse.ListNode, step parse.Node) {
	if list == nil {
		return
	}
	for _, node := range list.Nodes {
		switch node := node.(type) {
		case *parse.IfNode:
			addSteps(node.List, step)
			addSteps(node.ElseList, step)
		case *parse.WithNode:
			addSteps(node.List, step)
			addSteps(node.ElseList, step)
		case *parse.RangeNode:
			addSteps(node.List, step)
			addSteps(node.ElseList, step)
			node.List.Nodes = append([]parse.Node{step}, node.List.Nodes...)
		}
	}
}

// Execute applies the template to data and writes the output. An error may leave a part of it written.
func (t *Template) Execute(w io.Writer, data any) error {
	bounded, err := t.parsed.Clone()
	if err != nil {
		return err
	}
	r := &run{out: w}
	return bounded.Funcs(r.functions()).Execute(r, data)
}

// run is one execution.
type run struct {
	out          io.Writer
	steps, bytes int
}

// Write implements io.Writer.
func (r *run) Write(b []byte) (int, error) {
	if r.bytes += len(b); r.bytes > maxBytes {
		return 0, ErrTooLong
	}
	return r.out.Write(b)
}

// functions are those that take the place of the ones that make strings, and countStep.
func (r *run) functions() template.FuncMap {
	printing := func(print func(...any) string) func(...any) (string, error) {
		return func(args ...any) (string, error) { return r.made(print, args) }
	}
	return template.FuncMap{
		"countStep": func(n int) (string, error) { return "", r.step(max(1, n)) },
		"print":     printing(fmt.Sprint),
		"println":   printing(fmt.Sprintln),
		"html":      printing(template.HTMLEscaper),
		"js":        printing(template.JSEscaper),
		"urlquery":  printing(template.URLQueryEscaper),
		"printf": func(format string, args ...any) (string, error) {
			if err := checkFormat(format); err != nil {
				return "", err
			}
			return r.made(func(args ...any) string { return fmt.Sprintf(format, args...) }, args)
		},
	}
}

func (r *run) step(n int) error {
	if r.steps += n; r.steps > maxSteps {
		return ErrTooManySteps
	}
	return nil
}

// made counts what a function makes of its arguments.
func (r *run) made(print func(...any) string, args []any) (string, error) {
	if err := r.step(1); err != nil {
		return "", err
	}
	taken := 0
	for _, arg := range args {
		if text, ok := arg.(string); ok {
			taken += len(text)
		}
	}
	if taken > maxBytes {
		return "", ErrTooLong
	}
	text := print(args...)
	if r.bytes += len(text); r.bytes > maxBytes {
		return "", ErrTooLong
	}
	return text, nil
}

// wide matches a width or precision of four digits and more, or one that an argument gives, and an argument's number.
var wide = regexp.MustCompile(`%[-+# 0]*[0-9.]*([0-9]{4}|[*\[])`)

// checkFormat bounds what a format makes of its arguments: each is used once.
func checkFormat(format string) error {
	switch {
	case len(format) > maxFormat:
		return fmt.Errorf("a format has more than %d bytes: split it", maxFormat)
	case wide.MatchString(format):
		return errors.New("a format has a width of more than 999, or one that an argument gives, or numbers an argument: write it plainly")
	case strings.Count(format, "%") > 100:
		return errors.New("a format has more than 100 verbs: split it")
	}
	return nil
}
