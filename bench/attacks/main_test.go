// Package attacks attacks a real promlet, with the memory that deploy/deployment.yaml gives it, while the value of an
// application is read twice a second. Whatever is done to promlet, that value is right, the answer comes in time, the
// process lives on, and it ends when it is told to.
//
// Each attack is bounded in count and time, and goes to loopback only.
package attacks

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"go.uber.org/goleak"
)

// built is where promlet's binary is, in the environment of the tests. It has no race detector, which takes several
// times the memory.
const built = "PROMLET_ATTACKED"

func TestMain(m *testing.M) {
	if runtime.GOOS != "linux" {
		fmt.Println("the attacks are not tested: they need Linux, for /proc and addresses such as 127.1.0.1")
		return
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "promlet-attacks-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "promlet")
	build := exec.Command("go", "build", "-o", path, "github.com/promlet/promlet/cmd/promlet")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build does
	if err := run(build); err != nil {
		fmt.Println(err)
		return 1
	}
	os.Setenv(built, path)
	// Most attacks wait most of their time.
	flag.Parse()
	if err := flag.Set("test.parallel", "5"); err != nil {
		fmt.Println(err)
		return 1
	}
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Println(err)
		return 1
	}
	return code
}
