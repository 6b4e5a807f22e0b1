package apiserver

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/ptr"
)

var watchChecks = []check{
	{"changes arrive in order", func(a *api) { a.changesArrive(a.json) }},
	{"changes arrive in order, protobuf", func(a *api) { a.changesArrive(a.proto) }},
	{"resume from a version", func(a *api) {
		a.configMap("a", nil)
		from := a.version()
		a.configMap("b", nil)
		a.expect(a.watch(a.json, metav1.ListOptions{ResourceVersion: from}), watch.Added, "b")
	}},
	{"from any version comes what is there", func(a *api) {
		a.configMap("a", nil)
		a.expect(a.watch(a.json, metav1.ListOptions{ResourceVersion: "0"}), watch.Added, "a")
	}},
	{"an expired version is gone", func(a *api) {
		from := a.version()
		a.configMap("a", nil)
		a.server.store.compact()
		e := a.next(a.watch(a.json, metav1.ListOptions{ResourceVersion: from}))
		a.true(e.Type == watch.Error && apierrors.IsResourceExpired(apierrors.FromObject(e.Object)), "got %v", e)
	}},
	{"an expired version is gone, protobuf", func(a *api) {
		from := a.version()
		a.configMap("a", nil)
		a.server.store.compact()
		e := a.next(a.watch(a.proto, metav1.ListOptions{ResourceVersion: from}))
		a.true(e.Type == watch.Error && apierrors.IsResourceExpired(apierrors.FromObject(e.Object)), "got %v", e)
	}},
	{"a nonsense version is a bad request", func(a *api) {
		_, err := a.json.CoreV1().ConfigMaps("default").Watch(a.ctx(), metav1.ListOptions{ResourceVersion: "x"})
		a.refused(apierrors.IsBadRequest, err)
	}},
	{"what leaves a selector is deleted, what enters is added", func(a *api) {
		m := a.configMap("a", map[string]string{"x": "1"})
		w := a.watch(a.json, metav1.ListOptions{ResourceVersion: m.ResourceVersion, LabelSelector: "x=1"})
		m.Labels["x"] = "2"
		m, err := a.json.CoreV1().ConfigMaps("default").Update(a.ctx(), m, metav1.UpdateOptions{})
		a.must(err)
		a.expect(w, watch.Deleted, "a")
		m.Labels["x"] = "1"
		_, err = a.json.CoreV1().ConfigMaps("default").Update(a.ctx(), m, metav1.UpdateOptions{})
		a.must(err)
		a.expect(w, watch.Added, "a")
	}},
	{"field selectors filter watches", func(a *api) {
		w := a.watch(a.json, metav1.ListOptions{ResourceVersion: a.version(), FieldSelector: "metadata.name=b"})
		a.configMap("a", nil)
		a.configMap("b", nil)
		a.expect(w, watch.Added, "b")
	}},
	{"other namespaces are not seen", func(a *api) {
		w := a.watch(a.json, metav1.ListOptions{ResourceVersion: a.version()})
		_, err := a.json.CoreV1().ConfigMaps("kube-system").Create(a.ctx(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "other"}}, metav1.CreateOptions{})
		a.must(err)
		a.configMap("mine", nil)
		a.expect(w, watch.Added, "mine")
	}},
	{"a WatchList ends its beginning with a bookmark", func(a *api) { a.watchList(a.json) }},
	{"a WatchList ends its beginning with a bookmark, protobuf", func(a *api) { a.watchList(a.proto) }},
	{"a WatchList needs its match", func(a *api) {
		_, err := a.json.CoreV1().ConfigMaps("default").Watch(a.ctx(), metav1.ListOptions{SendInitialEvents: ptr.To(true), AllowWatchBookmarks: true})
		a.refused(apierrors.IsBadRequest, err)
	}},
	{"a watch ends after its time", func(a *api) {
		w := a.watch(a.json, metav1.ListOptions{ResourceVersion: a.version(), TimeoutSeconds: ptr.To(int64(1))})
		select {
		case e, open := <-w.ResultChan():
			a.true(!open, "got %v", e)
		case <-time.After(limit):
			a.Fatal("it goes on")
		}
	}},
	{"nothing is outstanding once a watch was served", func(a *api) {
		w := a.watch(a.json, metav1.ListOptions{ResourceVersion: a.version()})
		a.configMap("a", nil)
		a.expect(w, watch.Added, "a")
		a.eventually("nothing outstanding", func() bool {
			n, err := a.server.Outstanding()
			a.must(err)
			return n == 0
		})
	}},
	{"what a watch has not sent is outstanding", func(a *api) {
		w := a.server.store.follow(watchName{"test", byPath("", "v1", "configmaps")}, a.server.store.version)
		defer a.server.store.unfollow(w)
		a.configMap("a", nil)
		n, err := a.server.Outstanding()
		a.must(err)
		a.true(n == 1, "got %d", n)
	}},
}

func (a *api) changesArrive(c *kubernetes.Clientset) {
	w := a.watch(c, metav1.ListOptions{ResourceVersion: a.version()})
	m := a.configMap("a", nil)
	m.Data = map[string]string{"k": "v"}
	_, err := c.CoreV1().ConfigMaps("default").Update(a.ctx(), m, metav1.UpdateOptions{})
	a.must(err)
	a.must(c.CoreV1().ConfigMaps("default").Delete(a.ctx(), "a", metav1.DeleteOptions{}))
	a.expect(w, watch.Added, "a")
	a.expect(w, watch.Modified, "a")
	a.expect(w, watch.Deleted, "a")
}

func (a *api) watchList(c *kubernetes.Clientset) {
	a.configMap("a", nil)
	w := a.watch(c, metav1.ListOptions{
		SendInitialEvents: ptr.To(true), ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan, AllowWatchBookmarks: true,
	})
	a.expect(w, watch.Added, "a")
	e := a.next(w)
	m, ok := e.Object.(*corev1.ConfigMap)
	a.true(e.Type == watch.Bookmark && ok && m.Annotations[metav1.InitialEventsAnnotationKey] == "true" && m.ResourceVersion != "", "got %v", e)
	a.configMap("b", nil)
	a.expect(w, watch.Added, "b")
}

// eventually waits for a condition.
func (a *api) eventually(what string, is func() bool) {
	a.Helper()
	deadline := time.Now().Add(limit)
	for !is() {
		if time.Now().After(deadline) {
			a.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

var clientChecks = []check{
	{"informers", func(a *api) { a.informer(a.json) }},
	{"informers, protobuf", func(a *api) { a.informer(a.proto) }},
	{"informers survive a compaction", func(a *api) {
		factory, has := a.startInformer(a.json)
		defer factory()
		a.server.store.compact()
		a.configMap("late", nil)
		a.eventually("the informer has it", func() bool { return has("late") })
	}},
	{"leases are led by one, and passed on", func(a *api) {
		var lock sync.Mutex
		var led []string
		leads := func(name string) bool {
			lock.Lock()
			defer lock.Unlock()
			return len(led) > 0 && led[len(led)-1] == name
		}
		run := func(name string) context.CancelFunc {
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() {
				defer close(done)
				leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
					Lock: &resourcelock.LeaseLock{
						LeaseMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "lock"}, Client: a.proto.CoordinationV1(),
						LockConfig: resourcelock.ResourceLockConfig{Identity: name},
					},
					LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 50 * time.Millisecond, ReleaseOnCancel: true,
					Callbacks: leaderelection.LeaderCallbacks{
						OnStartedLeading: func(context.Context) { lock.Lock(); led = append(led, name); lock.Unlock() },
						OnStoppedLeading: func() {},
					},
				})
			}()
			return func() { cancel(); <-done }
		}
		stopFirst := run("first")
		a.eventually("the first leads", func() bool { return leads("first") })
		stopSecond := run("second")
		defer stopSecond()
		stopFirst()
		a.eventually("the second leads", func() bool { return leads("second") })
	}},
	{"no token, no entry", func(a *api) {
		c := rest.CopyConfig(a.config)
		c.BearerToken = ""
		_, err := kubernetes.NewForConfigOrDie(c).CoreV1().Pods("").List(a.ctx(), metav1.ListOptions{})
		a.refused(apierrors.IsUnauthorized, err)
	}},
	{"another authority's certificate is not trusted", func(a *api) {
		c := rest.CopyConfig(a.config)
		c.CAData, c.CAFile = nil, ""
		_, err := kubernetes.NewForConfigOrDie(c).CoreV1().Pods("").List(a.ctx(), metav1.ListOptions{})
		a.true(err != nil, "the client trusted anybody")
	}},
	{"discovery names every resource", func(a *api) {
		_, lists, err := a.json.Discovery().ServerGroupsAndResources()
		a.must(err)
		names := map[string]bool{}
		for _, l := range lists {
			for _, r := range l.APIResources {
				names[l.GroupVersion+"/"+r.Name] = true
			}
		}
		for _, r := range resources {
			a.true(names[r.gv().String()+"/"+r.name], "%s is missing", r)
		}
	}},
	{"version", func(a *api) {
		v, err := a.json.Discovery().ServerVersion()
		a.must(err)
		a.true(v.Major == "1", "got %v", v)
	}},
	{"unknown resources are not found", func(a *api) {
		err := a.json.CoreV1().RESTClient().Get().AbsPath("/api/v1/unicorns").Do(a.ctx()).Error()
		a.refused(apierrors.IsNotFound, err)
	}},
}

func (a *api) informer(c *kubernetes.Clientset) {
	a.configMap("early", nil)
	stop, has := a.startInformer(c)
	defer stop()
	a.configMap("late", nil)
	a.eventually("the informer has both", func() bool { return has("early") && has("late") })
	a.must(c.CoreV1().ConfigMaps("default").Delete(a.ctx(), "early", metav1.DeleteOptions{}))
	a.eventually("the informer has one", func() bool { return !has("early") && has("late") })
}

// startInformer runs an informer of ConfigMaps, synced.
func (a *api) startInformer(c *kubernetes.Clientset) (stop func(), has func(name string) bool) {
	factory := informers.NewSharedInformerFactory(c, 0)
	lister := factory.Core().V1().ConfigMaps().Lister()
	ctx, cancel := context.WithCancel(context.Background())
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(a.ctx().Done()) {
		a.true(synced, "%v never synced", kind)
	}
	return func() { cancel(); factory.Shutdown() }, func(name string) bool {
		_, err := lister.ConfigMaps("default").Get(name)
		return err == nil
	}
}
