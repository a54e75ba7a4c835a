// Package history keeps in a file when the targets of jobs came and went. A sum of rates is right
// only if it is known when the load of its targets changed, also if that was before a restart.
package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"
)

// Job is what is known of a job.
type Job struct {
	Targets uint64      `json:"targets"`           // hash of the targets that there are, and of which are ready
	Begun   time.Time   `json:"begun"`             // when scraping began
	Changes []time.Time `json:"changes,omitempty"` // of the targets' load, the last one last
}

// Settled reports whether the targets have stayed the same for a while.
func (j Job) Settled(now time.Time, during time.Duration) bool {
	last := j.Begun
	if n := len(j.Changes); n > 0 {
		last = j.Changes[n-1]
	}
	return !j.Begun.After(now) && !last.Add(during).After(now)
}

func (j Job) equal(other Job) bool {
	return j.Targets == other.Targets && j.Begun.Equal(other.Begun) && slices.EqualFunc(j.Changes, other.Changes, time.Time.Equal)
}

// File is a file with jobs by their names. One with an empty Path stores nothing.
type File struct {
	Path  string
	saved map[string]Job
}

// Load returns the jobs. A file that is missing has none.
func (f *File) Load() (jobs map[string]Job, err error) {
	if f.Path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(f.Path)
	if err == nil {
		err = json.Unmarshal(data, &jobs)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", f.Path, err)
	}
	return jobs, nil
}

// Save writes the jobs if they differ from those saved last. If this fails, it removes the file, because an old file
// would hide changes from the next process.
func (f *File) Save(jobs map[string]Job) error {
	if f.Path == "" || maps.EqualFunc(jobs, f.saved, Job.equal) {
		return nil
	}
	f.saved = jobs
	err := f.write(jobs)
	if err == nil {
		return nil
	}
	f.saved = nil
	if removed := os.Remove(f.Path); !errors.Is(removed, fs.ErrNotExist) {
		err = errors.Join(err, removed)
	}
	return fmt.Errorf("write %s: %w", f.Path, err)
}

// write renames a new file into place: a process that is killed leaves the old file or the new one.
func (f *File) write(jobs map[string]Job) error {
	data, err := json.Marshal(jobs)
	if err == nil {
		err = os.WriteFile(f.Path+".new", data, 0o666) //nolint:gosec // As the storage's own files.
	}
	if err == nil {
		err = os.Rename(f.Path+".new", f.Path)
	}
	return err
}
