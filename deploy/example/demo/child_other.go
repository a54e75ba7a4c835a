//go:build !unix

package main

import "syscall"

// childAttributes are those of any process.
func childAttributes() *syscall.SysProcAttr { return nil }
