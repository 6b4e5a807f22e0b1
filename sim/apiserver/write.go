package apiserver

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"proxyproof/sim/admission"
)

// The write path: metadata, defaults, allocation and validation, then the store, then the controllers that a real cluster runs
// beside it, in the same critical section, so that one order of versions tells everything.

// create adds an object.
func (s *Server) create(r *resource, o runtime.Object) (runtime.Object, error) {
	s.store.lock.Lock()
	defer s.store.lock.Unlock()
	return s.createLocked(r, o)
}

func (s *Server) createLocked(r *resource, o runtime.Object) (runtime.Object, error) {
	o = o.DeepCopyObject()
	m := metaOf(o)
	if m.GetName() == "" && m.GetGenerateName() != "" {
		m.SetName(m.GetGenerateName() + rand.String(5))
	}
	if m.GetName() == "" {
		return nil, apierrors.NewBadRequest("name or generateName is required")
	}
	if s.store.get(r, m.GetNamespace(), m.GetName()) != nil {
		return nil, apierrors.NewAlreadyExists(r.groupResource(), m.GetName())
	}
	m.SetUID(types.UID(uuid.NewUUID()))
	m.SetCreationTimestamp(metav1.Now().Rfc3339Copy())
	m.SetDeletionTimestamp(nil)
	m.SetGeneration(1)
	if err := s.admit(r, o, nil); err != nil {
		return nil, err
	}
	s.store.put(r, o)
	s.reconcile(r, nil, o)
	return o, nil
}

// update replaces an object. Without a version in it the write is unconditional. With status, only the status is taken over;
// else everything but the status.
func (s *Server) update(r *resource, o runtime.Object, status bool) (runtime.Object, error) {
	s.store.lock.Lock()
	defer s.store.lock.Unlock()
	return s.updateLocked(r, o, status)
}

func (s *Server) updateLocked(r *resource, o runtime.Object, status bool) (runtime.Object, error) {
	o = o.DeepCopyObject()
	m := metaOf(o)
	old := s.store.get(r, m.GetNamespace(), m.GetName())
	if old == nil {
		return nil, apierrors.NewNotFound(r.groupResource(), m.GetName())
	}
	was := metaOf(old)
	if v := m.GetResourceVersion(); v != "" && v != was.GetResourceVersion() {
		return nil, apierrors.NewConflict(r.groupResource(), m.GetName(), fmt.Errorf(
			"the object has been modified; please apply your changes to the latest version and try again"))
	}
	if u := m.GetUID(); u != "" && u != was.GetUID() {
		return nil, apierrors.NewConflict(r.groupResource(), m.GetName(), fmt.Errorf("the UID in the precondition (%s) does not match %s", u, was.GetUID()))
	}
	if r.status {
		o = admission.Merge(o, old, status)
		m = metaOf(o)
	}
	m.SetUID(was.GetUID())
	m.SetCreationTimestamp(was.GetCreationTimestamp())
	m.SetDeletionTimestamp(was.GetDeletionTimestamp())
	m.SetGeneration(was.GetGeneration())
	m.SetResourceVersion(was.GetResourceVersion())
	if err := s.admit(r, o, old); err != nil {
		return nil, err
	}
	o.GetObjectKind().SetGroupVersionKind(r.gvk())
	if equality.Semantic.DeepEqual(o, old) {
		return old, nil // a write that changes nothing makes no version, as in a real API server
	}
	if !status {
		m.SetGeneration(was.GetGeneration() + 1)
	}
	if m.GetDeletionTimestamp() != nil && len(m.GetFinalizers()) == 0 {
		return s.removeLocked(r, o), nil
	}
	s.store.put(r, o)
	s.reconcile(r, old, o)
	return o, nil
}

// remove deletes an object, or marks it while finalizers hold it.
func (s *Server) remove(r *resource, namespace, name string, pre *metav1.Preconditions) (runtime.Object, error) {
	s.store.lock.Lock()
	defer s.store.lock.Unlock()
	o := s.store.get(r, namespace, name)
	if o == nil {
		return nil, apierrors.NewNotFound(r.groupResource(), name)
	}
	m := metaOf(o)
	if pre != nil && (pre.UID != nil && *pre.UID != m.GetUID() || pre.ResourceVersion != nil && *pre.ResourceVersion != m.GetResourceVersion()) {
		return nil, apierrors.NewConflict(r.groupResource(), name, fmt.Errorf("the preconditions are not met"))
	}
	if len(m.GetFinalizers()) == 0 {
		return s.removeLocked(r, o), nil
	}
	if m.GetDeletionTimestamp() != nil {
		return o, nil
	}
	marked := o.DeepCopyObject()
	now := metav1.Now().Rfc3339Copy()
	metaOf(marked).SetDeletionTimestamp(&now)
	s.store.put(r, marked)
	return marked, nil
}

func (s *Server) removeLocked(r *resource, o runtime.Object) runtime.Object {
	last := s.store.remove(r, o)
	s.admission.Release(o)
	s.reconcile(r, o, nil)
	return last
}

// admit completes and checks an object that is about to be written; old is nil for a new one.
func (s *Server) admit(r *resource, o, old runtime.Object) error {
	var errs field.ErrorList
	if old == nil {
		errs = s.admission.Create(o)
	} else {
		errs = s.admission.Update(o, old)
	}
	if len(errs) > 0 {
		return apierrors.NewInvalid(r.gvk().GroupKind(), metaOf(o).GetName(), errs)
	}
	return nil
}

// reconcile is what the cluster's controllers do about a write: endpoints follow Services and Pods, and IPAddresses follow Services. old is
// nil for a new object, now for one that is gone.
func (s *Server) reconcile(r *resource, old, now runtime.Object) {
	o := now
	if o == nil {
		o = old
	}
	switch r {
	case serviceResource():
		was, _ := old.(*corev1.Service)
		is, _ := now.(*corev1.Service)
		s.keepAddresses(was, is)
		s.reconcileEndpoints(o.(*corev1.Service))
	case podResource():
		for _, service := range s.store.listLocked(serviceResource(), metaOf(o).GetNamespace()) {
			s.reconcileEndpoints(service.(*corev1.Service))
		}
	}
}

// set makes an object be as given, status included, and reports whether that changed anything. The lock is held.
func (s *Server) set(r *resource, o runtime.Object) {
	m := metaOf(o)
	old := s.store.get(r, m.GetNamespace(), m.GetName())
	if old == nil {
		m.SetUID(types.UID(uuid.NewUUID()))
		m.SetCreationTimestamp(metav1.Now().Rfc3339Copy())
		m.SetGeneration(1)
	} else {
		was := metaOf(old)
		m.SetUID(was.GetUID())
		m.SetCreationTimestamp(was.GetCreationTimestamp())
		m.SetGeneration(was.GetGeneration())
		m.SetResourceVersion(was.GetResourceVersion())
		o.GetObjectKind().SetGroupVersionKind(r.gvk())
		if equality.Semantic.DeepEqual(o, old) {
			return
		}
		m.SetGeneration(was.GetGeneration() + 1)
	}
	s.store.put(r, o)
	s.reconcile(r, old, o)
}

func formatVersion(v uint64) string { return strconv.FormatUint(v, 10) }
