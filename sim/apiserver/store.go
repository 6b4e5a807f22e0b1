package apiserver

import (
	"fmt"
	"sort"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// store keeps objects and the history of their changes in one order. Objects in it are never modified: a write replaces them.
type store struct {
	lock    sync.Mutex
	version uint64
	objects map[*resource]map[string]runtime.Object // by "namespace/name"
	// history are the newest changes; before it begins, a watch cannot resume.
	history []change
	kept    int
	// wake is closed and replaced at every change.
	wake    chan struct{}
	watches map[*watching]bool
	serial  uint64 // of the youngest watch
}

// change is one write.
type change struct {
	version  uint64
	resource *resource
	kind     watch.EventType
	object   runtime.Object // after the write; for a deletion, the last state at the version of the deletion
	old      runtime.Object // before it; nil if it was created
}

// watching is the progress of a watch.
type watching struct {
	watchName
	serial uint64 // of watches, in the order in which they began
	sent   uint64 // every change up to this version was written to the connection
}

// historyKept is how many changes a watch can lag behind.
const historyKept = 4096

// firstVersion is above 1, since clients take 0 for "any".
const firstVersion = 1000

func newStore() *store {
	s := &store{version: firstVersion, objects: map[*resource]map[string]runtime.Object{}, kept: historyKept, wake: make(chan struct{}), watches: map[*watching]bool{}}
	for _, r := range resources {
		s.objects[r] = map[string]runtime.Object{}
	}
	return s
}

func key(namespace, name string) string { return namespace + "/" + name }

// get returns an object, or nil. The lock is held.
func (s *store) get(r *resource, namespace, name string) runtime.Object {
	return s.objects[r][key(namespace, name)]
}

// put writes an object whose metadata is complete but for the version. The lock is held.
func (s *store) put(r *resource, o runtime.Object) {
	m := metaOf(o)
	k := key(m.GetNamespace(), m.GetName())
	old := s.objects[r][k]
	s.version++
	m.SetResourceVersion(strconv.FormatUint(s.version, 10))
	o.GetObjectKind().SetGroupVersionKind(r.gvk())
	s.objects[r][k] = o
	kind := watch.Added
	if old != nil {
		kind = watch.Modified
	}
	s.record(change{s.version, r, kind, o, old})
}

// remove deletes an object. The lock is held.
func (s *store) remove(r *resource, o runtime.Object) runtime.Object {
	m := metaOf(o)
	delete(s.objects[r], key(m.GetNamespace(), m.GetName()))
	s.version++
	last := o.DeepCopyObject()
	metaOf(last).SetResourceVersion(strconv.FormatUint(s.version, 10))
	s.record(change{s.version, r, watch.Deleted, last, o})
	return last
}

func (s *store) record(c change) {
	s.history = append(s.history, c)
	if over := len(s.history) - s.kept; over > 0 {
		s.history = append([]change(nil), s.history[over:]...)
	}
	close(s.wake)
	s.wake = make(chan struct{})
}

// compact forgets history, so that every older version has expired.
func (s *store) compact() {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.history = nil
}

// expire is compact, and the present version is one that no client has seen: none can go on from where it was.
func (s *store) expire() {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.version++
	s.history = nil
}

// oldest is the oldest version from which a watch can start. The lock is held.
func (s *store) oldest() uint64 {
	if len(s.history) == 0 {
		return s.version
	}
	return s.history[0].version - 1
}

// since are the changes of a resource after a version, the version that they lead to, and what to wait for next.
func (s *store) since(r *resource, version uint64) (changes []change, upTo uint64, next <-chan struct{}, err error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if version < s.oldest() {
		return nil, 0, nil, apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", version, s.oldest()))
	}
	start := sort.Search(len(s.history), func(i int) bool { return s.history[i].version > version })
	for _, c := range s.history[start:] {
		if c.resource == r {
			changes = append(changes, c)
		}
	}
	return changes, s.version, s.wake, nil
}

// list returns the objects of a resource in a namespace ("" for all), ordered by key, and the present version.
func (s *store) list(r *resource, namespace string) ([]runtime.Object, uint64) {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.listLocked(r, namespace), s.version
}

func (s *store) listLocked(r *resource, namespace string) []runtime.Object {
	var keys []string
	for k, o := range s.objects[r] {
		if namespace == "" || metaOf(o).GetNamespace() == namespace {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	objects := make([]runtime.Object, len(keys))
	for i, k := range keys {
		objects[i] = s.objects[r][k]
	}
	return objects
}

// follow registers a watch, so that what it has not yet sent is known.
func (s *store) follow(name watchName, from uint64) *watching {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.serial++
	w := &watching{name, s.serial, from}
	s.watches[w] = true
	return w
}

// watched are the watches that are open, each with the serial of its youngest.
func (s *store) watched() map[watchName]uint64 {
	s.lock.Lock()
	defer s.lock.Unlock()
	open := map[watchName]uint64{}
	for w := range s.watches {
		open[w.watchName] = max(open[w.watchName], w.serial)
	}
	return open
}

func (s *store) unfollow(w *watching) {
	s.lock.Lock()
	defer s.lock.Unlock()
	delete(s.watches, w)
}

func (s *store) sent(w *watching, version uint64) {
	s.lock.Lock()
	defer s.lock.Unlock()
	w.sent = version
}

// unsent is the number of watches that still have a change of their resource to write.
func (s *store) unsent() int {
	s.lock.Lock()
	defer s.lock.Unlock()
	newest := map[*resource]uint64{}
	for _, c := range s.history {
		newest[c.resource] = c.version
	}
	n := 0
	for w := range s.watches {
		if w.sent < newest[w.resource] {
			n++
		}
	}
	return n
}
