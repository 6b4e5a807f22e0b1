package main

import (
	"fmt"
	"regexp"
	"strings"
)

// expression is ${{ … }}.
var expression = regexp.MustCompile(`\$\{\{(.*?)\}\}`)

// substitute puts the values of expressions into a text.
func substitute(text string, values map[string]string) (string, error) {
	var failed error
	done := expression.ReplaceAllStringFunc(text, func(whole string) string {
		value, err := evaluate(expression.FindStringSubmatch(whole)[1], values)
		if err != nil && failed == nil {
			failed = err
		}
		return value
	})
	return done, failed
}

// call is fromJSON(x), which is x: a value is kept as the text that it was written as.
var call = regexp.MustCompile(`^fromJSON\((.*)\)$`)

// evaluate knows names, texts in quotes, fromJSON, == and !=.
func evaluate(text string, values map[string]string) (string, error) {
	text = strings.TrimSpace(text)
	for _, operator := range []string{"==", "!="} {
		left, right, ok := strings.Cut(text, operator)
		if !ok {
			continue
		}
		a, err := evaluate(left, values)
		if err != nil {
			return "", err
		}
		b, err := evaluate(right, values)
		return fmt.Sprint((a == b) == (operator == "==")), err
	}
	if m := call.FindStringSubmatch(text); m != nil {
		return evaluate(m[1], values)
	}
	if len(text) > 1 && strings.HasPrefix(text, "'") && strings.HasSuffix(text, "'") {
		return strings.ReplaceAll(text[1:len(text)-1], "''", "'"), nil
	}
	value, known := values[text]
	if !known {
		return "", fmt.Errorf("the value of ${{ %s }} is not known here", text)
	}
	return value, nil
}

// wanted tells whether a step is to run, given whether one before it has failed.
func wanted(condition string, failed bool, values map[string]string) (bool, error) {
	condition = strings.TrimSpace(condition)
	if m := expression.FindStringSubmatch(condition); m != nil {
		condition = strings.TrimSpace(m[1])
	}
	switch condition {
	case "":
		return !failed, nil
	case "always()":
		return true, nil
	}
	value, err := evaluate(condition, values)
	return value == "true" && !failed, err
}
