package apiserver

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// negotiated is the representation that a client accepts: protobuf or JSON.
func negotiated(r *http.Request) runtime.SerializerInfo {
	all := scheme.Codecs.SupportedMediaTypes()
	for accept := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		media, parameters, err := mime.ParseMediaType(accept)
		if err != nil || parameters["as"] != "" {
			continue // as=Table and the like are for people
		}
		if info, ok := runtime.SerializerInfoForMediaType(all, media); ok && served(info) {
			return info
		}
	}
	info, _ := runtime.SerializerInfoForMediaType(all, runtime.ContentTypeJSON)
	return info
}

func served(info runtime.SerializerInfo) bool {
	return info.MediaType == runtime.ContentTypeJSON || info.MediaType == runtime.ContentTypeProtobuf
}

// encode writes an object in a representation. Objects of the store, which are shared and carry their kind, are only read; the
// codecs of the scheme would write their kind into them while they encode.
func encode(info runtime.SerializerInfo, o runtime.Object) ([]byte, error) {
	if o.GetObjectKind().GroupVersionKind().Empty() {
		kinds, _, err := scheme.Scheme.ObjectKinds(o)
		if err != nil {
			return nil, err
		}
		o.GetObjectKind().SetGroupVersionKind(kinds[0])
	}
	return runtime.Encode(info.Serializer, o)
}

// writeObject answers with an object.
func writeObject(w http.ResponseWriter, r *http.Request, status int, o runtime.Object) {
	info := negotiated(r)
	data, err := encode(info, o)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", info.MediaType)
	w.WriteHeader(status)
	_, _ = w.Write(data) // the client may be gone
}

// writeStatus answers with an error as a real API server words it.
func writeStatus(w http.ResponseWriter, r *http.Request, err error) {
	status := statusOf(err)
	writeObject(w, r, int(status.Code), &status)
}

func statusOf(err error) metav1.Status {
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		known = apierrors.NewInternalError(err)
	}
	status := known.Status()
	status.Kind, status.APIVersion = "Status", "v1"
	return status
}

func unauthorized() error { return apierrors.NewUnauthorized("Unauthorized") }

// maxBody bounds what a client may send.
const maxBody = 8 << 20

// readObject decodes a request's body, whatever its representation.
func readObject(r *http.Request, into *resource) (runtime.Object, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("read the body: %v", err))
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if media == "" {
		media = runtime.ContentTypeJSON
	}
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), media)
	if !ok || !served(info) && info.MediaType != runtime.ContentTypeYAML {
		return nil, apierrors.NewGenericServerResponse(http.StatusUnsupportedMediaType, r.Method, into.groupResource(), "",
			fmt.Sprintf("the body of the request was in an unknown format: %s", media), 0, true)
	}
	gvk := into.gvk()
	o, _, err := info.Serializer.Decode(body, &gvk, into.newObject())
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if byKind(o.GetObjectKind().GroupVersionKind()) == nil {
		o.GetObjectKind().SetGroupVersionKind(gvk)
	}
	if got := o.GetObjectKind().GroupVersionKind(); got != gvk {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the object provided is %s, not %s", got, gvk))
	}
	return o, nil
}
