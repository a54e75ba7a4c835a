// Package harness is what the benchmarks share: a program of subcommands
// ([Main]), parts of it that run in processes of their own ([StartChild]), other programs ([StartProgram]), what
// processes use ([Usage]), and tables of figures ([Table]).
package harness
