// Package build builds programs once, in the user's cache directory.
package build

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// keep is how long a build is kept that nobody made anew: another checkout may use it.
const keep = 7 * 24 * time.Hour

// Once returns the path of what compile builds, below promlet/dir in the user's cache
// directory. It is called if nothing has been built yet from the files, with this
// toolchain and further inputs, with a path to build to. Processes may build side by
// side: one does, the others wait. Old builds with the same prefix are removed.
func Once(dir, prefix string, files, inputs []string, compile func(path string) error) (path string, err error) {
	hash := sha256.New()
	hash.Write([]byte(strings.Join(append([]string{runtime.Version(), runtime.GOOS, runtime.GOARCH}, inputs...), "\n")))
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		hash.Write(content)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(cache, "promlet", dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path = filepath.Join(dir, prefix+hex.EncodeToString(hash.Sum(nil)[:8]))
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }() // unlocks
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := compile(path + ".tmp"); err != nil {
		return "", err
	}
	return path, errors.Join(os.Rename(path+".tmp", path), removeOld(dir, prefix, path))
}

func removeOld(dir, prefix, current string) error {
	builds, err := filepath.Glob(filepath.Join(dir, prefix+"*"))
	for _, build := range builds {
		info, statErr := os.Stat(build)
		if statErr == nil && build != current && filepath.Ext(build) != ".lock" && time.Since(info.ModTime()) >= keep {
			err = errors.Join(err, os.RemoveAll(build))
		}
	}
	return err
}
