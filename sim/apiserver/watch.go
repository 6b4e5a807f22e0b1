package apiserver

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

func isWatch(r *http.Request) bool {
	if r.Method != http.MethodGet {
		return false
	}
	on, _ := strconv.ParseBool(r.URL.Query().Get("watch"))
	return on
}

// bookmarkInterval is how often an idle watch that asked for it is told the present version, so that it can resume after history
// was dropped.
const bookmarkInterval = 30 * time.Second

// watch streams the changes of a resource.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, t target) {
	stream, err := s.newStream(w, r, t)
	if err != nil {
		writeStatus(w, r, err)
		return
	}
	defer watchOn(r.Context())()
	stream.begin()
	var limit <-chan time.Time
	if seconds, err := strconv.Atoi(r.URL.Query().Get("timeoutSeconds")); err == nil && seconds > 0 {
		timer := time.NewTimer(time.Duration(seconds) * time.Second)
		defer timer.Stop()
		limit = timer.C
	}
	if err := stream.run(r, limit); err != nil {
		stream.fail(err)
	}
}

// stream is one watch.
type stream struct {
	server    *Server
	target    target
	match     selector
	bookmarks bool
	initial   bool // begin with all objects (WatchList)
	from      uint64
	flush     func() error
	response  http.ResponseWriter
	info      runtime.SerializerInfo
	frames    io.Writer
}

func (s *Server) newStream(w http.ResponseWriter, r *http.Request, t target) (*stream, error) {
	query := r.URL.Query()
	match, err := selectorOf(r)
	if err != nil {
		return nil, err
	}
	bookmarks, _ := strconv.ParseBool(query.Get("allowWatchBookmarks"))
	initial, _ := strconv.ParseBool(query.Get("sendInitialEvents"))
	version := query.Get("resourceVersion")
	from, err := strconv.ParseUint(version, 10, 64)
	if err != nil && version != "" {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("resourceVersion: Invalid value: %q", version))
	}
	if initial && query.Get("resourceVersionMatch") != string(metav1.ResourceVersionMatchNotOlderThan) {
		return nil, apierrors.NewBadRequest("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
	}
	// A watch from "any" version begins with what is there, as in a real API server.
	if from == 0 && query.Get("sendInitialEvents") == "" {
		initial = true
	}
	info := negotiated(r)
	return &stream{
		server: s, target: t, match: match, bookmarks: bookmarks, initial: initial, from: from,
		flush: http.NewResponseController(w).Flush, response: w, info: info, frames: info.StreamSerializer.NewFrameWriter(w),
	}, nil
}

// begin sends the header, so that the client knows that it is watching.
func (w *stream) begin() {
	media := w.info.MediaType
	if media == runtime.ContentTypeProtobuf {
		media += ";stream=watch"
	}
	w.response.Header().Set("Content-Type", media)
	w.response.WriteHeader(http.StatusOK)
	_ = w.flush() // a client that is gone shows at the next write
}

// run sends changes until the client, the server or the time limit ends it.
func (w *stream) run(r *http.Request, limit <-chan time.Time) error {
	version := w.from
	if w.initial {
		var err error
		if version, err = w.sendInitial(r); err != nil {
			return err
		}
	}
	listener, _ := r.Context().Value(listenerKey{}).(string)
	progress := w.server.store.follow(watchName{listener, w.target.resource}, version)
	defer w.server.store.unfollow(progress)
	ticker := time.NewTicker(bookmarkInterval)
	defer ticker.Stop()
	for {
		w.server.hinder(r.Context())
		changes, upTo, next, err := w.server.store.since(w.target.resource, version)
		if err != nil {
			return err
		}
		for _, c := range changes {
			if err := w.sendChange(c); err != nil {
				return nil // the client is gone
			}
		}
		if len(changes) > 0 && w.flush() != nil {
			return nil
		}
		version = upTo
		w.server.store.sent(progress, version)
		select {
		case <-next:
		case <-ticker.C:
			if w.bookmarks && w.sendBookmark(version, nil) != nil {
				return nil
			}
		case <-limit:
			return nil
		case <-r.Context().Done():
			return nil
		}
	}
}

// sendInitial sends everything that is there; a client that asked for a WatchList is told where it ends.
func (w *stream) sendInitial(r *http.Request) (uint64, error) {
	objects, version := w.server.store.list(w.target.resource, w.target.namespace)
	for _, o := range objects {
		if w.match(o) {
			if err := w.send(watch.Added, o); err != nil {
				return version, nil
			}
		}
	}
	if r.URL.Query().Get("sendInitialEvents") != "" && w.bookmarks {
		return version, w.sendBookmark(version, map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	_ = w.flush()
	return version, nil
}

// sendChange sends a change as the selector sees it: an object that comes to match is added, one that no longer matches is
// deleted.
func (w *stream) sendChange(c change) error {
	if ns := w.target.namespace; ns != "" && metaOf(c.object).GetNamespace() != ns {
		return nil
	}
	is := c.kind != watch.Deleted && w.match(c.object)
	was := c.old != nil && w.match(c.old)
	switch {
	case is && was:
		return w.send(watch.Modified, c.object)
	case is:
		return w.send(watch.Added, c.object)
	case was:
		last := c.old.DeepCopyObject()
		metaOf(last).SetResourceVersion(formatVersion(c.version))
		return w.send(watch.Deleted, last)
	}
	return nil
}

func (w *stream) sendBookmark(version uint64, annotations map[string]string) error {
	o := w.target.resource.newObject()
	metaOf(o).SetResourceVersion(formatVersion(version))
	metaOf(o).SetAnnotations(annotations)
	if err := w.send(watch.Bookmark, o); err != nil {
		return err
	}
	return w.flush()
}

// send writes one event: an object in its representation within an envelope in that of the stream.
func (w *stream) send(kind watch.EventType, o runtime.Object) error {
	data, err := encode(w.info, o)
	if err != nil {
		return err
	}
	return w.envelope(kind, data)
}

func (w *stream) envelope(kind watch.EventType, data []byte) error {
	event := &metav1.WatchEvent{Type: string(kind), Object: runtime.RawExtension{Raw: data}}
	return w.info.StreamSerializer.Serializer.Encode(event, w.frames)
}

// fail ends the stream with an error event.
func (w *stream) fail(err error) {
	status := statusOf(err)
	data, encodeErr := encode(w.info, &status)
	if encodeErr == nil && w.envelope(watch.Error, data) == nil {
		_ = w.flush()
	}
}
