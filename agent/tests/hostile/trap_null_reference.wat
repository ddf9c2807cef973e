;; trapped: null reference
(func (export "_start") 
    (drop (ref.as_non_null (ref.null func))))
