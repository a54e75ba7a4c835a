package remotewrite

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// position is a place in the held log: before a record.
type position struct {
	Generation string `json:"generation"`
	Segment    int    `json:"segment"`
	Record     int    `json:"record"` // in the segment
}

// before reports whether p precedes q.
func (p position) before(q position) bool {
	switch {
	case p.Generation != q.Generation:
		return p.Generation < q.Generation
	case p.Segment != q.Segment:
		return p.Segment < q.Segment
	}
	return p.Record < q.Record
}

// first returns the position that precedes the other.
func first(p, q position) position {
	if q.before(p) {
		return q
	}
	return p
}

// progress is how far a queue has come.
type progress struct {
	// Queue names it for people who read the file.
	Queue string `json:"queue"`
	// Sent is the place up to which the engine has taken, or refused, everything.
	Sent position `json:"sent"`
	// Tried is beyond everything that was ever given to the queue.
	Tried position `json:"tried"`
}

// readProgress returns an error that is fs.ErrNotExist if there is none.
func readProgress(path string) (p progress, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return p, fmt.Errorf("read %s: %w", path, errors.Join(err, fs.ErrNotExist))
	}
	return p, nil
}

// write replaces a file, so that after a crash of the system it is there whole.
func (p progress) write(path string) (err error) {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	next := path + ".tmp"
	file, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
