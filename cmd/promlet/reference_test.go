package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	cliflag "k8s.io/component-base/cli/flag"

	"github.com/promlet/promlet/cmd/promlet/configfile"
	"github.com/promlet/promlet/cmd/promlet/internal/client"
	"github.com/promlet/promlet/scrape"
)

// update is given by make generate.
var update = flag.Bool("update", false, "write deploy/REFERENCE.md")

const referenceHead = `# Reference

The flags of promlet's commands and the keys of its configuration file, written by ` + "`make generate`" + ` from promlet's source.
[README.md](README.md) shows how to install promlet and how to set its flags.
`

// The reference has every flag and every key, with their texts in the code.
func TestReference(t *testing.T) {
	got := referenceHead + flagReference(t) + keyReference(t) + limitReference()
	path := filepath.Join("..", "..", "deploy", "REFERENCE.md")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "make generate writes it again")
}

// limitReference describes the limits that have no flag.
func limitReference() string {
	return fmt.Sprintf("\n## Limits of a scrape\n\nA body may have up to %d MiB after decompression, unless the monitor sets `bodySizeLimit`. Other limits are those of the monitor\n"+
		"(`sampleLimit`, `labelLimit` and the like) and of the flags above.\n", scrape.DefaultBodySizeLimit>>20)
}

// flagReference has a section for each command.
func flagReference(t *testing.T) string {
	var b strings.Builder
	var cluster *pflag.FlagSet
	commands := commands(newOptions)
	slices.SortFunc(commands, func(a, b client.Command) int { return strings.Compare(a.Name(), b.Name()) })
	for _, cmd := range commands {
		sets := cmd.Sections
		requireFlags(t, cmd.Command, sets)
		fmt.Fprintf(&b, "\n## promlet %s\n\n%s.\n", strings.TrimSuffix(cmd.UseLine(), " [flags]"), cmd.Short)
		for _, section := range sets.Order {
			if section == "cluster" {
				cluster = sets.FlagSets[section]
				b.WriteString("\nThe flags of [the cluster](#the-cluster) work, too.\n")
				continue
			}
			title := strings.ToUpper(section[:1]) + section[1:]
			if len(sets.Order) > 2 {
				fmt.Fprintf(&b, "\n### %s\n", title)
			}
			b.WriteString(flagTable(t, sets.FlagSets[section]))
		}
	}
	b.WriteString("\n## The cluster\n\nThe API server and the user, as for kubectl.\n")
	b.WriteString(flagTable(t, cluster))
	return b.String()
}

// requireFlags fails for flags of a command that are not in its sets.
func requireFlags(t *testing.T, cmd *cobra.Command, sets cliflag.NamedFlagSets) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		known := slices.ContainsFunc(slices.Collect(maps.Values(sets.FlagSets)), func(set *pflag.FlagSet) bool { return set.Lookup(f.Name) != nil })
		require.True(t, known || f.Name == "help", "--%s of %s is in no section", f.Name, cmd.Name())
	})
}

func flagTable(t *testing.T, set *pflag.FlagSet) string {
	var b strings.Builder
	b.WriteString("\n| flag | default | |\n|---|---|---|\n")
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Deprecated != "" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		require.NotEmpty(t, usage, "--%s has no text", f.Name)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		byDefault := f.DefValue
		if slices.Contains([]string{"", "[]", "false"}, byDefault) {
			byDefault = ""
		} else {
			byDefault = "`" + byDefault + "`"
		}
		// What follows on further lines depends on the version of Go.
		usage, _, _ = strings.Cut(usage, "\n")
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.TrimSpace(name+" "+value), byDefault, cell(usage))
	})
	return b.String()
}

// cell is text inside a table.
func cell(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.NewReplacer("|", `\|`, "<", "&lt;", ">", "&gt;", "*", `\*`).Replace(text)
}

// docs are the comments on fields, by type and field, and on types, by type.
type docs map[string]string

func readDocs(t *testing.T, dirs ...string) docs {
	found := docs{}
	for _, dir := range dirs {
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		require.NoError(t, err)
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			require.NoError(t, err)
			for _, decl := range file.Decls {
				if types, ok := decl.(*ast.GenDecl); ok && types.Tok == token.TYPE {
					found.add(types)
				}
			}
		}
	}
	return found
}

func (d docs) add(decl *ast.GenDecl) {
	for _, spec := range decl.Specs {
		typ := spec.(*ast.TypeSpec)
		d[typ.Name.Name] = decl.Doc.Text()
		fields, ok := typ.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, field := range fields.Fields.List {
			for _, name := range field.Names {
				d[typ.Name.Name+"."+name.Name] = field.Doc.Text()
			}
		}
	}
}

// key is one of the configuration file.
type key struct{ path, kind, text string }

// keys are those of a struct and of what is in it. Each struct is gone into once.
type keys struct {
	docs  docs
	names map[string]string // of keys, by that of the field
	seen  map[reflect.Type]string
	all   []key
}

func (k *keys) walk(t *testing.T, typ reflect.Type, prefix string) {
	for field := range typ.Fields() {
		if field.Anonymous {
			k.walk(t, field.Type, prefix)
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" {
			require.False(t, field.IsExported(), "%s.%s has no key", typ, field.Name)
			continue
		}
		k.names[field.Name] = name
		inner, kind, suffix := contents(field.Type)
		text := k.docs[typ.Name()+"."+field.Name]
		if text == "" {
			text = k.docs[inner.Name()]
		}
		require.NotEmpty(t, text, "%s.%s has no comment", typ, field.Name)
		path := prefix + name
		i := len(k.all)
		k.all = append(k.all, key{path, kind, text})
		// A type that parses its own keys, as Prometheus does, names them in its comment.
		if inner.Kind() != reflect.Struct || reflect.PointerTo(inner).Implements(reflect.TypeFor[json.Unmarshaler]()) {
			continue
		}
		if as, ok := k.seen[inner]; ok {
			k.all[i].kind += ", as `" + as + "`"
			continue
		}
		k.seen[inner] = path
		if !strings.HasPrefix(inner.PkgPath(), strings.TrimSuffix(module, "/")) {
			k.all[i].kind += fmt.Sprintf(" of [%s](https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.%s)", inner.Name(), inner.Name())
			continue
		}
		k.walk(t, inner, path+suffix)
	}
}

// contents returns what is in a list or a map, or the type itself; how it is called;
// and what stands for it in the path of a key.
func contents(typ reflect.Type) (inner reflect.Type, kind, suffix string) {
	inner = typ
	switch typ.Kind() {
	case reflect.Pointer:
		return contents(typ.Elem())
	case reflect.Slice:
		inner, kind, _ = contents(typ.Elem())
		if kind == "object" {
			return inner, "list", "[]."
		}
		return inner, "list of " + kind + "s", ""
	case reflect.Map:
		inner, _, _ = contents(typ.Elem())
		return inner, "map", ".LABEL."
	case reflect.Bool:
		return inner, "true or false", ""
	case reflect.String:
		return inner, "string", ""
	}
	return inner, "object", "."
}

// inKeys says of keys what the comments of the code say of fields.
func (k *keys) inKeys(text string) string {
	return regexp.MustCompile(`(^|[^.\w])([A-Z]\w*(?:\.[A-Z]\w*)*)\b`).ReplaceAllStringFunc(text, func(match string) string {
		word := regexp.MustCompile(`[A-Z].*$`).FindString(match)
		parts := strings.Split(word, ".")
		for i, part := range parts {
			name, ok := k.names[part]
			if !ok {
				return match
			}
			parts[i] = name
		}
		return strings.TrimSuffix(match, word) + "`" + strings.Join(parts, ".") + "`"
	})
}

func keyReference(t *testing.T) string {
	k := &keys{docs: readDocs(t, "configfile", filepath.Join("..", "..", "adapter", "rules")), names: map[string]string{}, seen: map[reflect.Type]string{}}
	k.walk(t, reflect.TypeFor[configfile.File](), "")
	var b strings.Builder
	b.WriteString("\n## The configuration file\n\nThe file of `--config`, alone or inside the manifest of a ConfigMap: prometheus-adapter's keys, and promlet's own beside them.\n" +
		"Unknown keys are rejected. Without `rules` the default rules are used. `promlet check` checks a file.\n\n| key | | |\n|---|---|---|\n")
	for _, key := range k.all {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", key.path, key.kind, cell(k.inKeys(key.text)))
	}
	for _, template := range []struct{ key, of string }{{"metricsQuery", "queryArgs"}, {"resources.template", "labelArgs"}} {
		fmt.Fprintf(&b, "\n### Fields of `%s`\n\n| field | |\n|---|---|\n", template.key)
		fields := 0
		for _, name := range slices.Sorted(maps.Keys(k.docs)) {
			field, ok := strings.CutPrefix(name, template.of+".")
			if !ok {
				continue
			}
			fields++
			require.NotEmpty(t, k.docs[name], "%s has no comment", name)
			fmt.Fprintf(&b, "| `<<.%s>>` | %s |\n", field, cell(k.docs[name]))
		}
		require.NotZero(t, fields, "%s is no struct of the adapter", template.of)
	}
	return b.String()
}
