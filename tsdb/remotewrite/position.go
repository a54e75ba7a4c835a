package remotewrite

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// position is the place before a record in the held log.
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

// first returns the earlier of two positions.
func first(p, q position) position {
	if q.before(p) {
		return q
	}
	return p
}

// progress says how far a queue has come.
type progress struct {
	// Queue names it for people who read the file.
	Queue string `json:"queue"`
	// Sent is the position up to which the engine has accepted or refused all samples.
	Sent position `json:"sent"`
	// Tried is a position after all records that were ever given to the queue.
	Tried position `json:"tried"`
}

// readProgress reads a file of progress. The error wraps fs.ErrNotExist if the file is missing or invalid.
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

// write replaces a file. After a crash of the system the file has either the old or the new content.
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
