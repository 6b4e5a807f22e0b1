package apiserver

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"
)

// patch changes an object by a merge, strategic-merge or JSON patch.
func (s *Server) patch(r *http.Request, t target) (runtime.Object, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("read the body: %v", err))
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	s.store.lock.Lock()
	defer s.store.lock.Unlock()
	old := s.store.get(t.resource, t.namespace, t.name)
	if old == nil {
		return nil, apierrors.NewNotFound(t.resource.groupResource(), t.name)
	}
	patched, err := applyPatch(types.PatchType(media), t.resource, old, body)
	if err != nil {
		return nil, err
	}
	return s.updateLocked(t.resource, patched, t.subresource == "status")
}

// applyPatch makes the patched object.
func applyPatch(kind types.PatchType, r *resource, old runtime.Object, body []byte) (runtime.Object, error) {
	before, err := json.Marshal(old)
	if err != nil {
		return nil, err
	}
	var after []byte
	switch kind {
	case types.MergePatchType:
		after, err = jsonpatch.MergePatch(before, body)
	case types.StrategicMergePatchType:
		after, err = strategicpatch.StrategicMergePatch(before, body, r.newObject())
	case types.JSONPatchType:
		var p jsonpatch.Patch
		if p, err = jsonpatch.DecodePatch(body); err == nil {
			after, err = p.Apply(before)
		}
	default:
		return nil, apierrors.NewGenericServerResponse(http.StatusUnsupportedMediaType, "patch", r.groupResource(), "",
			fmt.Sprintf("the body of the request was in an unknown format - accepted media types include: %s, %s, %s",
				types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType), 0, true)
	}
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("apply the patch: %v", err))
	}
	o := r.newObject()
	if err := json.Unmarshal(after, o); err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("read the patched object: %v", err))
	}
	return o, nil
}

// readOptions decodes the options of a deletion, if there are any.
func readOptions(r *http.Request, into *metav1.DeleteOptions) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil || len(body) == 0 {
		return err
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), media)
	if !ok {
		info, _ = runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), runtime.ContentTypeJSON)
	}
	gvk := metav1.SchemeGroupVersion.WithKind("DeleteOptions")
	gvk.Group, gvk.Version = "", "v1"
	if _, _, err := info.Serializer.Decode(body, &gvk, into); err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("read the options: %v", err))
	}
	return nil
}
