package client

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// printTable aligns columns as kubectl does.
func printTable(out io.Writer, rows [][]string) error {
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	for _, row := range rows {
		// The table keeps the first error for Flush.
		_, _ = fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	return table.Flush()
}
